import type { Attempt, Workload } from "@/api/types";

export type Step =
  | { kind: "queued"; time: string }
  | { kind: "admitted" | "started" | "lost"; time: string; attempt: Attempt }
  | { kind: "ended"; time: string; attempt: Attempt; code: number | null }
  | { kind: "preempted"; time: string; attempt: Attempt; rule: string; gainer: string };

/** Rules by which nobody gained. */
export const FOR_NOBODY = ["NODE_DRAINED", "CARD_FAILED", "BETTER_CARD"];

/** What happened to a workload, in the order of time. */
export function stepsOf(workload: Workload, attempts: readonly Attempt[]): Step[] {
  const steps: Step[] = workload.create_time ? [{ kind: "queued", time: workload.create_time }] : [];
  for (const attempt of [...attempts].sort((one, other) => one.number - other.number)) {
    if (attempt.admit_time) steps.push({ kind: "admitted", time: attempt.admit_time, attempt });
    if (attempt.launch_time) steps.push({ kind: "started", time: attempt.launch_time, attempt });
    if (attempt.end_time) steps.push(endOf(attempt, attempt.end_time));
  }
  return steps;
}

function endOf(attempt: Attempt, time: string): Step {
  if (attempt.preempted) {
    return { kind: "preempted", time, attempt, rule: attempt.end_reason, gainer: attempt.preempted_for };
  }
  if (attempt.end_reason === "NODE_LOST") return { kind: "lost", time, attempt };
  return { kind: "ended", time, attempt, code: attempt.exit_code ?? null };
}
