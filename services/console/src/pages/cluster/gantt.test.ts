import { expect, test } from "vitest";
import type { Attempt } from "@/api/types";
import { layOut } from "./gantt";

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

test("work without cards takes a lane that is free, or a new one", () => {
  const { lanes, bars } = layOut(
    [attempt("a", "01:00", "03:00"), attempt("a", "02:00", "04:00"), attempt("a", "03:00", null)],
    FROM,
    NOW,
    100,
  );
  expect(lanes).toEqual(["a", "a"]);
  expect(bars.map((bar) => bar.lane)).toEqual([0, 1, 0]);
  expect(bars[2]?.end).toBe(NOW);
});

test("work with two cards stands in both of their lanes", () => {
  const { lanes, bars } = layOut(
    [attempt("b", "01:00", "02:00", ["x", "y"]), attempt("a", "01:00", null)],
    FROM,
    NOW,
    100,
  );
  expect(lanes).toEqual(["a", "b · 0", "b · 1"]);
  expect(bars.map((bar) => bar.lane)).toEqual([0, 1, 2]);
});

test("lanes that nobody could tell apart are left out with their bars", () => {
  const { lanes, bars } = layOut([attempt("b", "01:00", "02:00", ["x", "y"])], FROM, NOW, 1);
  expect([lanes.length, bars.length]).toEqual([1, 1]);
});
