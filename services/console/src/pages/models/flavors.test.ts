import { expect, test } from "vitest";
import type { Candidate, Comparison, FlavorCosts } from "@/api/types";
import { rowsOf, sameOn } from "./FlavorTable";

const CANDIDATES = ["F16", "Q8_0"].map((quantisation) => ({ quantisation, variant: `v/1/variants/${quantisation}` }));
const ASKED = { suite: "s", metric: "exact", margin: 0.05, calibration: "d", candidates: CANDIDATES as Candidate[] };

test("a flavor on which nothing was measured has a line of its own", () => {
  const cost = { variant: "v/1/variants/Q8_0" };
  const flavors = [
    { flavor: "flavors/cpu", costs: [cost] },
    { flavor: "flavors/l4", costs: [] },
  ] as unknown as FlavorCosts[];
  expect(rowsOf(flavors)).toEqual([{ flavor: "flavors/cpu", cost }, { flavor: "flavors/l4" }]);
});

test("the same is asked of another flavor", () => {
  const ofVersion = sameOn({ ...ASKED, version: "v/1", baseline: "F16" } as Comparison, "flavors/l4");
  expect(ofVersion).toMatchObject({
    version: "v/1",
    baseline: "F16",
    calibration: "d",
    quantisations: ["F16", "Q8_0"],
    only_flavor: "flavors/l4",
  });
  const ofModels = sameOn({ ...ASKED, version: "", baseline: "v/1/variants/F16" } as Comparison, "flavors/l4");
  expect(ofModels).toMatchObject({ versions: ["v/1"], only_flavor: "flavors/l4" });
  expect(ofModels).not.toHaveProperty("baseline");
});
