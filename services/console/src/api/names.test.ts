import { expect, test } from "vitest";
import { bare, kindOf, lastPart, pagePath, partOf, shortName, slugify, variantLabel } from "./names";

test("a name is cut into its parts", () => {
  const name = "projects/p/models/hotline/versions/3/variants/q4-k-m";
  expect([lastPart(name), partOf(name, "models"), partOf(name, "versions"), partOf(name, "runs")]).toEqual([
    "q4-k-m",
    "hotline",
    "3",
    "",
  ]);
});

test("people call things by short names", () => {
  expect(shortName("projects/p/datasets/hotline/versions/3")).toBe("hotline v3");
  expect(shortName("projects/p/models/hotline/versions/3/variants/q4-k-m")).toBe("hotline v3 Q4_K_M");
  expect(shortName("projects/p/models/m/versions/3/variants/q4-k-m-city-hotline-2")).toBe(
    "m v3 Q4_K_M · city-hotline v2",
  );
  expect(variantLabel("q6-k-m-1")).toBe("Q6_K · m v1");
  expect([variantLabel("awq-hotline-2"), variantLabel("fp8")]).toEqual(["AWQ · hotline v2", "FP8"]);
  expect(shortName("projects/p/models/hotline/aliases/production")).toBe("hotline@production");
  expect(shortName("projects/p/prompts/triage/versions/2")).toBe("triage v2");
  expect(shortName("projects/p/deployments/hotline/experiments/3")).toBe("hotline/3");
  expect(shortName("")).toBe("");
});

test("a resource leads to its page, if it has one", () => {
  expect(pagePath("projects/p/models/hotline/versions/3/variants/hf")).toBe("/p/p/models/hotline?version=3");
  expect(pagePath("projects/p/workloads/01A")).toBe("/p/p/workloads/01A");
  expect(pagePath("projects/p/runs/01A")).toBe("/p/p/runs/01A");
  expect(pagePath("projects/p/deployments/hotline")).toBe("/p/p/deployments?open=hotline");
  expect(pagePath("projects/p/prompts/triage/versions/2")).toBe("/p/p/prompts/triage?version=2");
  expect(pagePath("projects/p/inferenceBatches/batch_0a")).toBe("/p/p/batches");
  expect([kindOf("projects/p/trafficPolicy"), pagePath("projects/p/trafficPolicy")]).toEqual([
    "trafficPolicy",
    "/p/p/access",
  ]);
  expect(pagePath("nodes/local")).toBeUndefined();
});

test("an enum value loses its prefix alone", () => {
  expect(["STATE_IN_REVIEW", "ROW_FORMAT_PROMPT_COMPLETION", "METHOD_SFT", "ACTION_MARK", "READY"].map(bare)).toEqual([
    "IN_REVIEW",
    "PROMPT_COMPLETION",
    "SFT",
    "MARK",
    "READY",
  ]);
});

test("a slug is made of what a name may have", () => {
  expect(slugify("  City Hotline (2026) – Ä.jsonl ")).toBe("city-hotline-2026-a-jsonl");
});
