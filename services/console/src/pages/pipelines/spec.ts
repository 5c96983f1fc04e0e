import type { Hyperparameters } from "@/api/types";
import { type RuleValues, toRule } from "@/pages/evaluations/GateRules";

/** What the form of a lap holds. */
export interface LapValues {
  display_name?: string;
  feedback_batch?: string;
  /** Pieces of approved feedback to wait for, and the data set that gets their rows: in place of a batch. */
  collects: boolean;
  min_feedback?: number;
  collect_into?: string;
  sft_datasets: { version?: string; max_rows?: number }[];
  base: string;
  sft: Hyperparameters;
  with_dpo: boolean;
  dpo?: Hyperparameters;
  with_rlhf: boolean;
  reward?: Hyperparameters;
  ppo?: Hyperparameters;
  register_as: string;
  quantisations: string[];
  suites: string[];
  with_gate: boolean;
  rules?: RuleValues[];
  deployment?: string;
  alias?: string;
  traffic_steps: string[];
  traffic_step_seconds: number;
  seed: number;
}

/** The `PipelineSpec` of a form; what was left out is left out of it too, so that the lap skips it. */
export function toSpec(project: string, values: LapValues): object {
  const replay = values.sft_datasets
    .filter((one) => one.version)
    .map(({ version, max_rows = 0 }) => ({ version, max_rows }));
  return {
    base: values.base,
    feedback_batch: values.collects ? undefined : values.feedback_batch,
    collect: values.collects ? { min_feedback: values.min_feedback, dataset_id: values.collect_into } : undefined,
    sft: { datasets: replay, hyperparameters: values.sft },
    dpo: values.with_dpo ? { datasets: [], hyperparameters: values.dpo } : undefined,
    reward: values.with_rlhf ? { datasets: [], hyperparameters: values.reward } : undefined,
    ppo: values.with_rlhf ? { datasets: [], hyperparameters: values.ppo } : undefined,
    register_as: `projects/${project}/models/${values.register_as}`,
    quantisations: values.quantisations,
    suites: values.suites,
    gate: values.with_gate ? { rules: (values.rules ?? []).map(toRule) } : undefined,
    alias: values.alias,
    deployment: values.deployment ? `projects/${project}/deployments/${values.deployment}` : undefined,
    traffic_steps: values.deployment ? values.traffic_steps.map(Number) : [],
    traffic_step_seconds: values.traffic_step_seconds,
    seed: String(values.seed ?? 7),
  };
}
