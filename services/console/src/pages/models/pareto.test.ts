import { expect, test } from "vitest";
import type { Candidate } from "@/api/types";
import { calledIn, reasonOf } from "./candidates";
import { ended, intervals, marksOf, spotsOf } from "./pareto";

const candidate = (quantisation: string, cost: string, value: number, state = "STATE_MEASURED") =>
  ({
    quantisation,
    state,
    variant: `v/${quantisation}`,
    million_tokens_microusd: cost,
    on_front: true,
    score: { slice: "", metric: "exact", value, lower: value - 0.1, upper: value + 0.1, count: 10 },
  }) as Candidate;

const candidates = [
  candidate("F16", "400", 0.9),
  candidate("Q8_0", "90", 0.9),
  candidate("Q4_K_M", "0", 0, "STATE_FAILED"),
  candidate("Q6_K", "0", 0, "STATE_EVALUATING"),
];

test("only what was measured is drawn, the cheapest first", () => {
  const marks = marksOf({ candidates, recommended: "v/Q8_0", version: "v" });
  expect(marks.map((mark) => [mark.name, mark.cost, mark.recommended])).toEqual([
    ["Q8_0", 90, true],
    ["F16", 400, false],
  ]);
  expect(intervals(marks)[0]?.map(([x, y]) => [x, y.toFixed(1)])).toEqual([
    [90, "0.8"],
    [90, "1.0"],
  ]);
});

test("progress counts what has ended, well or badly", () => {
  expect(ended(candidates)).toBe(3);
});

test("a recommendation's figures are those of what was chosen beside the baseline", () => {
  const cheap = { ...candidate("Q8_0", "90", 0.88), difference_lower: -0.04 } as Candidate;
  const reason = reasonOf({
    candidates: [candidate("F16", "400", 0.9), cheap],
    recommended: "v/Q8_0",
    baseline: "F16",
    version: "v",
  });
  expect(reason?.baseline.quantisation).toBe("F16");
  expect(reason?.saved).toBeCloseTo(0.775);
  expect(reason?.worst).toBe(0.04);
});

test("where models are compared, a candidate is called by its model", () => {
  const one = { ...candidate("Q8_0", "1", 1), variant: "projects/p/models/small/versions/2/variants/q8-0" };
  expect(calledIn({ version: "" }, one as Candidate)).toBe("small v2 Q8_0");
  expect(
    reasonOf({ candidates: [one as Candidate], recommended: one.variant, baseline: one.variant, version: "" }),
  ).toBeDefined();
});

test("labels of marks that lie close together stand at different places", () => {
  const marks = marksOf({
    candidates: [candidate("Q6_K", "100", 0.9), candidate("Q5_K_M", "104", 0.9), candidate("F16", "400", 0.9)],
    recommended: "",
    version: "v",
  });
  const [first, second, alone] = spotsOf(marks, 260, 220);
  expect(first).toEqual({ position: "top", distance: 10 });
  expect(second).toEqual({ position: "bottom", distance: 10 });
  expect(alone).toEqual(first);
});
