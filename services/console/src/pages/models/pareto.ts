import { bare } from "@/api/names";
import type { Candidate, Comparison } from "@/api/types";
import { calledIn } from "./candidates";

/** One measured quantisation in the chart. `cost` in millionths of a US dollar for a million tokens, shares 0 to 1. */
export interface Mark {
  name: string;
  cost: number;
  score: number;
  lower: number;
  upper: number;
  onFront: boolean;
  recommended: boolean;
}

/** The measured ones, the cheapest first. */
export function marksOf(comparison: Pick<Comparison, "candidates" | "recommended" | "version">): Mark[] {
  return comparison.candidates
    .filter((one) => bare(one.state) === "MEASURED" && one.score)
    .map((one) => ({
      name: calledIn(comparison, one),
      cost: Number(one.million_tokens_microusd),
      score: one.score?.value ?? 0,
      lower: one.score?.lower ?? 0,
      upper: one.score?.upper ?? 0,
      onFront: one.on_front,
      recommended: one.variant === comparison.recommended,
    }))
    .sort((one, other) => one.cost - other.cost);
}

/** A vertical bar for each interval. */
export function intervals(marks: Mark[]): [number, number][][] {
  return marks.map(({ cost, lower, upper }) => [
    [cost, lower],
    [cost, upper],
  ]);
}

/** How many candidates are measured or have failed. */
export function ended(candidates: Candidate[]): number {
  return candidates.filter((one) => ["MEASURED", "FAILED"].includes(bare(one.state))).length;
}
