import { expect, test } from "vitest";
import type { Evaluation } from "@/api/types";
import { byVariant, metricsOf, suitesOf, toRows, usualChoice } from "./compare";

interface Given {
  suite?: string;
  value?: number;
  rows?: number;
  slices?: string[];
}

function evaluation(
  variant: string,
  minute: number,
  { suite = "held-out", value = 0.5, rows = 240, slices = [] }: Given = {},
): Evaluation {
  const scores = ["", ...slices].map((slice) => ({
    slice,
    metric: "exact",
    value,
    lower: value - 0.1,
    upper: value + 0.1,
    count: rows,
  }));
  const create_time = `2026-11-24T10:${minute}:00Z`;
  return {
    variant: `projects/p/models/${variant}`,
    suite,
    create_time,
    scores,
    row_count: rows,
  } as unknown as Evaluation;
}

const BASE = evaluation("base/versions/1/variants/q8-0", 10);
const LAP1 = evaluation("hotline/versions/1/variants/q8-0", 20);
const LAP2 = evaluation("hotline/versions/2/variants/q8-0", 30);
const LAP2_SMALL = evaluation("hotline/versions/2/variants/q4-k-m", 31);
const LAP3 = evaluation("hotline/versions/3/variants/q8-0", 40);
const NEW_SLICE = evaluation("hotline/versions/2/variants/q8-0", 32, { suite: "new", rows: 68 });
const of = (...evaluations: Evaluation[]) => byVariant(evaluations);

test("of each variant the newest evaluation on a suite counts, oldest variant first", () => {
  const again = evaluation("base/versions/1/variants/q8-0", 35, { value: 0.6 });
  expect(of(LAP2, again, LAP1, BASE).map((one) => one.evaluations)).toEqual([[again], [LAP1], [LAP2]]);
});

test("a variant keeps what it got on each suite", () => {
  expect(of(LAP2, NEW_SLICE).map((one) => one.evaluations)).toEqual([[LAP2, NEW_SLICE]]);
  expect(suitesOf(of(NEW_SLICE, LAP2))).toEqual(["held-out", "new"]);
});

test("the base and the latest two laps are compared, each as it is served", () => {
  expect(usualChoice(of(BASE, LAP1, LAP2, LAP2_SMALL))).toEqual(of(BASE, LAP1, LAP2));
  expect(usualChoice(of(BASE, LAP1, LAP2, LAP2_SMALL, LAP3))).toEqual(of(BASE, LAP2, LAP3));
});

const asked = {
  suites: ["held-out"],
  metric: "exact",
  colours: ["grey", "green"],
  label: (_: string, slice: string) => slice || "All",
};

test("all rows come before the slices, and each series keeps its colour", () => {
  const sliced = of(
    evaluation("a/versions/1", 10, { slices: ["parks", "noise"] }),
    evaluation("a/versions/2", 20, { slices: ["parks"] }),
  );
  const rows = toRows(sliced, asked);
  expect(rows.map((row) => row.label)).toEqual(["All", "noise", "parks"]);
  expect(rows[2]?.marks.map((mark) => mark.colour)).toEqual(["grey", "green"]);
});

test("a single slice that is the whole suite is not said twice", () => {
  expect(toRows(of(evaluation("a/versions/1", 10, { slices: ["parks"] })), asked).map((row) => row.label)).toEqual([
    "All",
  ]);
});

test("metrics that nobody has are not offered", () => {
  expect(metricsOf(of(BASE))).toEqual(["exact"]);
});
