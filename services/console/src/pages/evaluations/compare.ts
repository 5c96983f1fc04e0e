import { shortName } from "@/api/names";
import type { Evaluation } from "@/api/types";
import type { IntervalRow } from "@/ui/interval/IntervalChart";

/** A variant with its newest evaluation on each suite. */
export interface Measured {
  variant: string;
  evaluations: Evaluation[];
}

/** Variants in the order in which they were first measured: base, lap 1, lap 2 … */
export function byVariant(evaluations: readonly Evaluation[]): Measured[] {
  const byTime = [...evaluations].sort((a, b) => (a.create_time ?? "").localeCompare(b.create_time ?? ""));
  const found = new Map<string, Map<string, Evaluation>>();
  for (const one of byTime) {
    const suites = found.get(one.variant) ?? new Map<string, Evaluation>();
    found.set(one.variant, suites.set(one.suite, one));
  }
  return [...found].map(([variant, suites]) => ({ variant, evaluations: [...suites.values()] }));
}

/** What is compared when nobody has chosen: the version where it began and the latest two, each as it is served. */
export function usualChoice(candidates: readonly Measured[]): Measured[] {
  const versions = onePerVersion(candidates);
  return versions.length <= 3 ? versions : [versions[0], ...versions.slice(-2)].flatMap((one) => one ?? []);
}

/** Of each model version the variant that came first: a lap measures and serves that one. */
function onePerVersion(candidates: readonly Measured[]): Measured[] {
  const first = new Map<string, Measured>();
  for (const one of candidates) {
    const version = one.variant.split("/variants/")[0] ?? one.variant;
    if (!first.has(version)) first.set(version, one);
  }
  return [...first.values()];
}

/** Suites on which any of them was measured, those with most rows first. */
export function suitesOf(measured: readonly Measured[]): string[] {
  const rows = new Map<string, number>();
  for (const one of measured.flatMap(({ evaluations }) => evaluations)) {
    rows.set(one.suite, Math.max(rows.get(one.suite) ?? 0, one.row_count));
  }
  return [...rows].sort((a, b) => b[1] - a[1]).map(([suite]) => suite);
}

/** Metrics that any of them has. */
export function metricsOf(measured: readonly Measured[]): string[] {
  const order = ["exact", "valid_json", "text"];
  const scores = measured.flatMap(({ evaluations }) => evaluations.flatMap((one) => one.scores));
  const names = new Set(scores.map((score) => score.metric));
  return [...order.filter((name) => names.has(name)), ...[...names].filter((name) => !order.includes(name))];
}

export function scoreOf({ evaluations }: Measured, suite: string, metric: string, slice = "") {
  const scores = evaluations.find((one) => one.suite === suite)?.scores ?? [];
  return scores.find((score) => score.metric === metric && score.slice === slice);
}

interface Asked {
  suites: readonly string[];
  metric: string;
  colours: readonly string[];
  label: (suite: string, slice: string) => string;
}

/** For each suite a row for all its rows together, then one for each slice, where there is more than one. */
export function toRows(measured: readonly Measured[], { suites, metric, colours, label }: Asked): IntervalRow[] {
  return suites.flatMap((suite) =>
    slicesOf(measured, suite, metric).map((slice) => ({
      key: `${suite} ${slice}`,
      label: label(suite, slice),
      whole: slice === "",
      marks: measured.flatMap((one, index) => {
        const score = scoreOf(one, suite, metric, slice);
        return score ? [{ ...score, series: shortName(one.variant), colour: colours[index] ?? "currentColor" }] : [];
      }),
    })),
  );
}

function slicesOf(measured: readonly Measured[], suite: string, metric: string): string[] {
  const scores = measured
    .flatMap(({ evaluations }) => evaluations.filter((one) => one.suite === suite))
    .flatMap((one) => one.scores);
  const named = [
    ...new Set(scores.filter((score) => score.metric === metric && score.slice !== "").map((score) => score.slice)),
  ].sort();
  const whole = scores.some((score) => score.metric === metric && score.slice === "") ? [""] : [];
  return named.length > 1 || !whole.length ? [...whole, ...named] : whole;
}
