import { expect, test } from "vitest";
import type { Evaluation } from "@/api/types";
import { metricsOf, newestOfEach, toRows, usualChoice } from "./compare";

function evaluation(variant: string, minute: number, value = 0.5): Evaluation {
  const scores = ["", "parks"].map((slice) => ({
    slice,
    metric: "exact",
    value,
    lower: value - 0.1,
    upper: value + 0.1,
    count: 120,
  }));
  return {
    variant: `projects/p/models/${variant}`,
    create_time: `2026-11-24T10:${minute}:00Z`,
    scores,
  } as unknown as Evaluation;
}

const BASE = evaluation("base/versions/1/variants/q8-0", 10);
const LAP1 = evaluation("hotline/versions/1/variants/q8-0", 20);
const LAP2 = evaluation("hotline/versions/2/variants/q8-0", 30);
const LAP2_SMALL = evaluation("hotline/versions/2/variants/q4-k-m", 31);
const LAP3 = evaluation("hotline/versions/3/variants/q8-0", 40);

test("of each variant the newest evaluation counts, oldest variant first", () => {
  const again = evaluation("base/versions/1/variants/q8-0", 35, 0.6);
  expect(newestOfEach([LAP2, again, LAP1, BASE])).toEqual([again, LAP1, LAP2]);
});

test("the base and the latest two laps are compared, each as it is served", () => {
  expect(usualChoice([BASE, LAP1, LAP2, LAP2_SMALL])).toEqual([BASE, LAP1, LAP2]);
  expect(usualChoice([BASE, LAP1, LAP2, LAP2_SMALL, LAP3])).toEqual([BASE, LAP2, LAP3]);
});

test("all rows come before the slices, and each series keeps its colour", () => {
  const rows = toRows([BASE, LAP1], "exact", ["grey", "green"], "All rows");
  expect(rows.map((row) => row.label)).toEqual(["All rows", "parks"]);
  expect(rows[0]?.marks.map((mark) => mark.colour)).toEqual(["grey", "green"]);
});

test("metrics that nobody has are not offered", () => {
  expect(metricsOf([BASE])).toEqual(["exact"]);
});
