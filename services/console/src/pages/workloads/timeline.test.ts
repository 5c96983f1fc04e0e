import { expect, test } from "vitest";
import type { Attempt, Workload } from "@/api/types";
import { stepsOf } from "./timeline";

const WORKLOAD = {
  create_time: "2026-11-27T10:00:00Z",
  preemption_rule: "RECLAIM",
  preempted_for: "projects/p/workloads/B",
} as Workload;

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

test("who gained and by which rule is said of the last time alone", () => {
  const ended = (number: number) => attempt(number, { end_time: `2026-11-27T1${number}:30:00Z`, preempted: true });
  const gave = stepsOf(WORKLOAD, [ended(1), ended(2)]).filter((step) => step.kind === "preempted");
  expect(gave.map((step) => [step.rule, step.gainer])).toEqual([
    ["", ""],
    ["RECLAIM", "projects/p/workloads/B"],
  ]);
});

test("an end without an exit code is an end", () => {
  const [, , end] = stepsOf(WORKLOAD, [attempt(1, { end_time: "2026-11-27T11:30:00Z" })]);
  expect(end).toMatchObject({ kind: "ended", code: null });
});
