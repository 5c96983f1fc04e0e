import { expect, test } from "vitest";
import type { Step } from "@/api/types";
import { nodesOf } from "./tree";

const START = "2026-01-05T12:00:00Z";

function step(span_id: string, parent_span_id = "", seconds = 0, duration_ms = 1000): Step {
  const start_time = new Date(Date.parse(START) + seconds * 1000).toISOString();
  return {
    name: `projects/p/traces/t/spans/${span_id}`,
    span_id,
    parent_span_id,
    kind: "KIND_OTHER",
    title: span_id,
    start_time,
    duration_ms,
    error: "",
    input: "",
    output: "",
    attributes_json: "{}",
  };
}

function shown(...steps: Step[]): [string, number][] {
  const nodes = nodesOf({ steps, start_time: START, duration_ms: 10_000 });
  return nodes.map((node) => [node.step.title, node.depth]);
}

test("a step stands below the one that it is part of, in the order in which they began", () => {
  expect(shown(step("agent"), step("chat", "agent", 1), step("inner", "chat", 2), step("tool", "agent", 3))).toEqual([
    ["agent", 0],
    ["chat", 1],
    ["inner", 2],
    ["tool", 1],
  ]);
});

test("a step whose parent nobody sent stands at the top", () => {
  expect(shown(step("chat", "lost"), step("other"))).toEqual([
    ["chat", 0],
    ["other", 0],
  ]);
});

test("steps that name each other as parents are shown once", () => {
  expect(shown(step("a", "b"), step("b", "a"), step("self", "self"))).toEqual([
    ["a", 0],
    ["b", 1],
    ["self", 0],
  ]);
});

test("bars lie within the trace's time and are never too thin to see", () => {
  const steps = [step("whole", "", 0, 10_000), step("late", "", 9.999, 0), step("beyond", "", 20, 10_000)];
  for (const { from, share } of nodesOf({ steps, start_time: START, duration_ms: 10_000 })) {
    expect(from + share).toBeLessThanOrEqual(1 + 1e-9);
    expect(share).toBeGreaterThan(0.003);
  }
});
