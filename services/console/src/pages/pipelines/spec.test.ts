import { expect, test } from "vitest";
import { type LapValues, toSpec } from "./spec";

const FORM: LapValues = {
  feedback_batch: "projects/p/batches/01A",
  collects: false,
  sft_datasets: [{ version: "projects/p/datasets/hotline/versions/1", max_rows: 80 }, { max_rows: 0 }],
  base: "projects/p/models/hotline/versions/1",
  sft: { epochs: 2 },
  with_dpo: true,
  dpo: { beta: 0.1 },
  with_rlhf: false,
  register_as: "hotline",
  quantisations: ["Q8_0"],
  suites: ["projects/p/suites/hotline"],
  with_gate: true,
  rules: [{ which: "except", slice: "parks", metric: "exact", points: -5 }],
  deployment: "hotline",
  alias: "production",
  traffic_steps: ["10", "100"],
  traffic_step_seconds: 5,
  seed: 7,
};

test("a lap's form becomes names, shares and steps", () => {
  expect(toSpec("p", FORM)).toMatchObject({
    sft: { datasets: [{ version: "projects/p/datasets/hotline/versions/1", max_rows: 80 }] },
    register_as: "projects/p/models/hotline",
    deployment: "projects/p/deployments/hotline",
    gate: { rules: [{ slice: "!parks", metric: "exact", min_lower_bound: -0.05 }] },
    traffic_steps: [10, 100],
    seed: "7",
  });
});

test("a part that is switched off is left out of the lap", () => {
  expect(toSpec("p", FORM)).toMatchObject({ reward: undefined, ppo: undefined, collect: undefined });
  expect(toSpec("p", { ...FORM, with_dpo: false, with_gate: false, deployment: undefined })).toMatchObject({
    dpo: undefined,
    gate: undefined,
    deployment: undefined,
    traffic_steps: [],
  });
});

test("a lap waits for feedback in place of taking a batch, and learns by a reward model", () => {
  const waits = {
    ...FORM,
    collects: true,
    min_feedback: 50,
    collect_into: "hotline",
    with_rlhf: true,
    ppo: { beta: 0.05 },
  };
  expect(toSpec("p", waits)).toMatchObject({
    feedback_batch: undefined,
    collect: { min_feedback: 50, dataset_id: "hotline" },
    reward: { datasets: [] },
    ppo: { datasets: [], hyperparameters: { beta: 0.05 } },
  });
});
