import { expect, test } from "vitest";
import type { Attempt, Workload } from "@/api/types";
import { stepsOf } from "./timeline";

const WORKLOAD = { create_time: "2026-11-27T10:00:00Z" } as Workload;

function attempt(number: number, given: Partial<Attempt>): Attempt {
  return { number, admit_time: `2026-11-27T1${number}:00:00Z`, preempted: false, ...given } as Attempt;
}

test("attempts follow one another, whatever their order in the reply", () => {
  const attempts = [
    attempt(2, { launch_time: "2026-11-27T12:00:01Z" }),
    attempt(1, { launch_time: "2026-11-27T11:00:01Z", end_time: "2026-11-27T11:30:00Z", exit_code: 1 }),
  ];
  expect(stepsOf(WORKLOAD, attempts).map((step) => step.kind)).toEqual([
    "queued",
    "admitted",
    "started",
    "ended",
    "admitted",
    "started",
  ]);
});

test("every preemption says who gained and by which rule", () => {
  const ended = (number: number, end_reason: string, preempted_for: string) =>
    attempt(number, { end_time: `2026-11-27T1${number}:30:00Z`, preempted: true, end_reason, preempted_for });
  const attempts = [ended(1, "RECLAIM", "projects/p/workloads/B"), ended(2, "NODE_DRAINED", "")];
  const gave = stepsOf(WORKLOAD, attempts).filter((step) => step.kind === "preempted");
  expect(gave.map((step) => [step.rule, step.gainer])).toEqual([
    ["RECLAIM", "projects/p/workloads/B"],
    ["NODE_DRAINED", ""],
  ]);
});

test("an attempt whose node was lost did not end by itself", () => {
  const [, , end] = stepsOf(WORKLOAD, [attempt(1, { end_time: "2026-11-27T11:30:00Z", end_reason: "NODE_LOST" })]);
  expect(end?.kind).toBe("lost");
});

test("an end without an exit code is an end", () => {
  const [, , end] = stepsOf(WORKLOAD, [attempt(1, { end_time: "2026-11-27T11:30:00Z" })]);
  expect(end).toMatchObject({ kind: "ended", code: null });
});
