import "@/ui/progress.css";

/** How much of something is used, as a bar and as text. */
export function Meter({ label, used, of, text }: { label: string; used: number; of: number; text: string }) {
  const share = of > 0 ? Math.min(used / of, 1) : 0;
  return (
    <div className="meter">
      <span className="quiet">{label}</span>
      <span className="num">{text}</span>
      <div
        className="progress"
        role="meter"
        aria-label={label}
        aria-valuemin={0}
        aria-valuemax={of}
        aria-valuenow={used}
        aria-valuetext={text}
      >
        <i style={{ width: `${share * 100}%`, background: share > 0.9 ? "var(--wait)" : "var(--accent)" }} />
      </div>
    </div>
  );
}
