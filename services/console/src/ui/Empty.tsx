import type { ReactNode } from "react";
import "./trouble.css";

/** An empty place: what would be here, and the one thing to do about it. */
export function Empty({ title, hint, action }: { title: string; hint?: string; action?: ReactNode }) {
  return (
    <div className="nothing">
      <svg width="44" height="32" viewBox="0 -2 44 32" fill="none" aria-hidden>
        <rect x="1" y="1" width="42" height="26" rx="13" stroke="var(--line)" strokeWidth="2" strokeDasharray="3 5" />
        <circle cx="14" cy="1.500" r="3" fill="var(--ink-3)" />
      </svg>
      <strong>{title}</strong>
      {hint && <p>{hint}</p>}
      {action && <div className="act">{action}</div>}
    </div>
  );
}
