import { expect, test } from "vitest";
import type { Attempt } from "@/api/types";
import { endOf, layOut } from "./gantt";

function attempt(node: string, begin: string, end: string | null, cards: string[] = []): Attempt {
  const at = (time: string) => `2026-11-02T${time}:00Z`;
  return {
    node: `nodes/${node}`,
    admit_time: at(begin),
    end_time: end && at(end),
    card_uuids: cards,
  } as Attempt;
}

const FROM = Date.parse("2026-11-02T00:00:00Z");
const NOW = Date.parse("2026-11-02T12:00:00Z");
const BY_NODE = { from: FROM, now: NOW, mostLanes: 100, rows: "node" } as const;

test("work without cards takes a lane that is free, or a new one", () => {
  const { lanes, bars } = layOut(
    [attempt("a", "01:00", "03:00"), attempt("a", "02:00", "04:00"), attempt("a", "03:00", null)],
    BY_NODE,
  );
  expect(lanes).toEqual(["a", "a"]);
  expect(bars.map((bar) => bar.lane)).toEqual([0, 1, 0]);
  expect(bars[2]?.end).toBe(NOW);
});

test("work with two cards stands in both of their lanes", () => {
  const { lanes, bars } = layOut([attempt("b", "01:00", "02:00", ["x", "y"]), attempt("a", "01:00", null)], BY_NODE);
  expect(lanes).toEqual(["a", "b · 0", "b · 1"]);
  expect(bars.map((bar) => bar.lane)).toEqual([0, 1, 2]);
});

test("lanes that nobody could tell apart are left out with their bars", () => {
  const { lanes, bars } = layOut([attempt("b", "01:00", "02:00", ["x", "y"])], { ...BY_NODE, mostLanes: 1 });
  expect([lanes.length, bars.length]).toEqual([1, 1]);
});

test("by queue, work that ran at once stands in lanes of its own, whatever cards it held", () => {
  const of = (queue: string, begin: string, end: string) => ({
    ...attempt("a", begin, end, ["x", "y"]),
    queue: `projects/p/queues/${queue}`,
  });
  const { lanes, bars } = layOut(
    [of("night", "01:00", "03:00"), of("night", "02:00", "04:00"), of("day", "01:00", "02:00")],
    { ...BY_NODE, rows: "queue" },
  );
  expect(lanes).toEqual(["day", "night", "night"]);
  expect(bars.map((bar) => bar.lane)).toEqual([0, 1, 2]);
});

test("an attempt ends in one way", () => {
  const ended = (given: Partial<Attempt>) => endOf({ ...attempt("a", "01:00", "02:00"), ...given });
  expect(endOf(attempt("a", "01:00", null))).toBe("running");
  expect(ended({ exit_code: 0 })).toBe("finished");
  expect(ended({ exit_code: 0, preempted: true, end_reason: "RECLAIM" })).toBe("preempted");
  expect(ended({ exit_code: 3 })).toBe("failed");
  expect(ended({})).toBe("failed");
  expect(ended({ end_reason: "NODE_LOST" })).toBe("lost");
});
