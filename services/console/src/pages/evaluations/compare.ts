import { shortName } from "@/api/names";
import type { Evaluation } from "@/api/types";
import type { IntervalRow } from "@/ui/interval/IntervalChart";

/** Of each variant its newest evaluation, in the order in which the variants first appeared: base, lap 1, lap 2 … */
export function newestOfEach(evaluations: readonly Evaluation[]): Evaluation[] {
  const byTime = [...evaluations].sort((a, b) => (a.create_time ?? "").localeCompare(b.create_time ?? ""));
  const newest = new Map<string, Evaluation>();
  for (const evaluation of byTime) newest.set(evaluation.variant, evaluation);
  return [...newest.values()];
}

/** What is compared when nobody has chosen: the version where it began and the latest two, each as it is served. */
export function usualChoice(candidates: readonly Evaluation[]): Evaluation[] {
  const versions = onePerVersion(candidates);
  return versions.length <= 3 ? versions : [versions[0], ...versions.slice(-2)].flatMap((one) => one ?? []);
}

/** Of each model version the variant that came first: a lap measures and serves that one. */
function onePerVersion(candidates: readonly Evaluation[]): Evaluation[] {
  const first = new Map<string, Evaluation>();
  for (const one of candidates) {
    const version = one.variant.split("/variants/")[0] ?? one.variant;
    if (!first.has(version)) first.set(version, one);
  }
  return [...first.values()];
}

/** Metrics that any of them has. */
export function metricsOf(evaluations: readonly Evaluation[]): string[] {
  const order = ["exact", "valid_json", "text"];
  const names = new Set(evaluations.flatMap((one) => one.scores.map((score) => score.metric)));
  return [...order.filter((name) => names.has(name)), ...[...names].filter((name) => !order.includes(name))];
}

/** A row for all rows together, then one for each slice. */
export function toRows(
  evaluations: readonly Evaluation[],
  metric: string,
  colours: readonly string[],
  all: string,
): IntervalRow[] {
  const slices = new Set(
    evaluations.flatMap((one) => one.scores.filter((score) => score.metric === metric).map((score) => score.slice)),
  );
  const sorted = [...slices].sort((a, b) => Number(a !== "") - Number(b !== "") || a.localeCompare(b));
  return sorted.map((slice) => ({
    label: slice || all,
    marks: evaluations.flatMap((one, index) => {
      const score = one.scores.find((found) => found.metric === metric && found.slice === slice);
      const colour = colours[index] ?? "currentColor";
      return score
        ? [
            {
              series: shortName(one.variant),
              colour,
              value: score.value,
              lower: score.lower,
              upper: score.upper,
              count: score.count,
            },
          ]
        : [];
    }),
  }));
}
