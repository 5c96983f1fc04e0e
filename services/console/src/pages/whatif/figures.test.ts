import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import type { SimulationReport } from "@/api/types";
import { changeOf, FIGURES, figureOf, isBetter, POLICIES, questionOf, stepOf } from "./figures";

const REPORT: SimulationReport = {
  job_count: 3,
  ended_count: 3,
  refused_count: 0,
  preemption_count: 2,
  node_count: 4,
  hour_microusd: "2500000",
};
const figure = (field: string) => FIGURES.find((one) => one.field === field) ?? FIGURES[0];
const WAIT = figure("mean_wait_seconds");
const COST = figure("hour_microusd");
const USED = figure("utilisation");

test("the page offers the policies that the scheduler has", () => {
  const source = join(import.meta.dirname, "../../../../gpu_scheduler/decisions/policies/__init__.py");
  const known = [...readFileSync(source, "utf-8").matchAll(/^ {4}"([a-z-]+)": /gm)].map((found) => found[1]);
  expect([...POLICIES]).toEqual(known);
});

test("cores become thousandths, and no number of them leaves the choice to the server", () => {
  const typed = { nodes: 2, flavor: "flavors/a100", cards: 8, cores: 1.5, removals: [], days: 7, policy: "" };
  expect(questionOf(typed)).toEqual({
    additions: [{ node_count: 2, flavor: "flavors/a100", cards_per_node: 8, cpu_milli_per_node: 1500 }],
    removals: [],
    days: 7,
    policy: "",
  });
  expect(questionOf({ ...typed, cores: null }).additions[0]?.cpu_milli_per_node).toBe(0);
});

test("to do without nodes nothing need be added", () => {
  const typed = { nodes: 0, flavor: "flavors/a100", cards: 8, cores: null, removals: ["nodes/a"], days: 7, policy: "" };
  expect(questionOf(typed)).toEqual({ additions: [], removals: ["nodes/a"], days: 7, policy: "" });
  expect(questionOf({ ...typed, nodes: null }).additions).toEqual([]);
});

test("an axis of times has lines at times that people know", () => {
  expect([0.4, 50, 3000, 46_000, 200_000].map(stepOf)).toEqual([1, 15, 900, 14_400, 86_400]);
  expect(stepOf(604_800 * 60)).toBe(604_800 * 10);
});

test("costs come as text, and are compared as numbers", () => {
  expect(isBetter(COST, { ...REPORT, hour_microusd: "10000000" }, REPORT)).toBe(true);
  expect(figureOf(REPORT, "hour_microusd")).toBe(2_500_000);
});

test("a shorter wait is better, more use is neither, and what is not known is not compared", () => {
  const [long, short] = [
    { ...REPORT, mean_wait_seconds: 60, utilisation: 0.5 },
    { ...REPORT, mean_wait_seconds: 6, utilisation: 0.7 },
  ];
  expect(isBetter(WAIT, long, short)).toBe(true);
  expect(isBetter(WAIT, short, long)).toBe(false);
  expect(isBetter(WAIT, long, long)).toBeNull();
  expect(isBetter(WAIT, REPORT, long)).toBeNull();
  expect(isBetter(USED, long, short)).toBeNull();
});

test("a change is told as a part of what was, unless that was nothing", () => {
  expect(changeOf(60, 30)).toBe(-0.5);
  expect(changeOf(0, 30)).toBeNull();
  expect(changeOf(undefined, 30)).toBeNull();
});
