import { expect, test } from "vitest";
import type { MetricPoint } from "@/api/types";
import { metricNames, seriesOf } from "./curves";

const POINTS: MetricPoint[] = [
  { step: 5, time: "2026-01-01T00:00:10Z", metrics: { loss: 2, num_tokens: 9, tokens_per_second: 40 } },
  { step: 6, time: "2026-01-01T00:00:14Z", metrics: { grad_norm: 1 } },
  { step: 7, time: "2026-01-01T00:00:16.5Z", metrics: { loss: 1.5, "policy/entropy": 3 } },
];

test("the loss comes first, and counts are no curves", () => {
  expect(metricNames(POINTS)).toEqual(["loss", "grad_norm", "tokens_per_second", "policy/entropy"]);
});

test("a curve is over steps, or over the time since the first point", () => {
  expect(seriesOf(POINTS, "loss")).toEqual([
    [5, 2],
    [7, 1.5],
  ]);
  expect(seriesOf(POINTS, "loss", "time")).toEqual([
    [0, 2],
    [6.5, 1.5],
  ]);
  expect(seriesOf([], "loss", "time")).toEqual([]);
});
