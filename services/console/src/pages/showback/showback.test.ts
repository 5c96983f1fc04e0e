import { expect, test } from "vitest";
import type { CapacityUsageRow } from "@/api/types";
import { seriesOf } from "./showback";

const DAYS = ["2026-11-02", "2026-11-03"];

function row(day: string, user: string, cost: number): CapacityUsageRow {
  return {
    day: `${day}T00:00:00Z`,
    project: "",
    user,
    queue: "",
    flavor: "",
    kind: "KIND_UNSPECIFIED",
    held_seconds: 0,
    core_seconds: 0,
    card_seconds: 0,
    cost_microusd: String(cost),
    attempt_count: "0",
    preemption_count: "0",
  };
}

test("the largest groups come first, and the others together last", () => {
  const rows = [
    row("2026-11-02", "a", 1),
    row("2026-11-03", "b", 5),
    row("2026-11-03", "c", 2),
    row("2026-11-02", "b", 1),
  ];
  expect(seriesOf(rows, DAYS, "user", "cost_microusd", 1)).toEqual([
    { id: "b", values: [1, 5] },
    { id: null, values: [1, 2] },
  ]);
});

test("work whose user is not known is a group of its own", () => {
  expect(seriesOf([row("2026-11-02", "", 3)], DAYS, "user", "cost_microusd", 4)).toEqual([{ id: "", values: [3, 0] }]);
});
