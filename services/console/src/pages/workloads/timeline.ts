import type { Attempt, Workload } from "@/api/types";

export type Step =
  | { kind: "queued"; time: string }
  | { kind: "admitted" | "started"; time: string; attempt: Attempt }
  | { kind: "ended"; time: string; attempt: Attempt; code: number | null }
  | { kind: "preempted"; time: string; attempt: Attempt; rule: string; gainer: string };

/** Rules by which nobody gained. */
export const FOR_NOBODY = ["NODE_DRAINED", "CARD_FAILED", "BETTER_CARD"];

/**
 * What happened to a workload, in the order of time. For whom and by which rule it gave way is known of the last time
 * alone; of earlier times both are empty.
 */
export function stepsOf(workload: Workload, attempts: readonly Attempt[]): Step[] {
  const last = Math.max(0, ...attempts.filter((one) => one.preempted).map((one) => one.number));
  const steps: Step[] = workload.create_time ? [{ kind: "queued", time: workload.create_time }] : [];
  for (const attempt of [...attempts].sort((one, other) => one.number - other.number)) {
    if (attempt.admit_time) steps.push({ kind: "admitted", time: attempt.admit_time, attempt });
    if (attempt.launch_time) steps.push({ kind: "started", time: attempt.launch_time, attempt });
    if (attempt.end_time) steps.push(endOf(workload, attempt, attempt.end_time, attempt.number === last));
  }
  return steps;
}

function endOf(workload: Workload, attempt: Attempt, time: string, isLast: boolean): Step {
  if (!attempt.preempted) return { kind: "ended", time, attempt, code: attempt.exit_code ?? null };
  const rule = isLast ? workload.preemption_rule : "";
  return { kind: "preempted", time, attempt, rule, gainer: isLast ? workload.preempted_for : "" };
}
