import { shortName } from "@/api/names";
import type { Candidate, Comparison } from "@/api/types";

/** A quantisation's name; where models are compared, the model's, its version's and the quantisation's. */
export function calledIn({ version }: Pick<Comparison, "version">, candidate: Candidate): string {
  return version ? candidate.quantisation : shortName(candidate.variant);
}

/** Whether the others are compared with it. */
export function isBaseline({ baseline, version }: Pick<Comparison, "baseline" | "version">, candidate: Candidate) {
  return (version ? candidate.quantisation : candidate.variant) === baseline;
}

/** What a recommendation goes by; shares are 0 to 1. */
export interface Reason {
  chosen: Candidate;
  baseline: Candidate;
  /** How much less a million tokens cost than with the baseline. */
  saved: number;
  /** By how much the score may be lower at most (95 %). */
  worst: number;
}

export function reasonOf(comparison: Pick<Comparison, "candidates" | "recommended" | "baseline" | "version">) {
  const chosen = comparison.candidates.find((one) => one.variant === comparison.recommended);
  const baseline = comparison.candidates.find((one) => isBaseline(comparison, one));
  if (!chosen || !baseline) return undefined;
  const saved = 1 - Number(chosen.million_tokens_microusd) / (Number(baseline.million_tokens_microusd) || 1);
  return { chosen, baseline, saved, worst: Math.max(0, -chosen.difference_lower) } satisfies Reason;
}
