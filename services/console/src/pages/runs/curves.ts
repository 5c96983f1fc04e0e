import type { MetricPoint } from "@/api/types";
import type { XY } from "@/ui/chart/Curve";

/** The loss first, then what the method is about, then the rest. */
const ORDER = [
  "loss",
  "rewards/margins",
  "rewards/accuracies",
  "accuracy",
  "eval_loss",
  "mean_token_accuracy",
  "grad_norm",
  "learning_rate",
  "tokens_per_second",
  "memory_bytes",
];
const OF_NO_INTEREST = /runtime|samples_per_second|steps_per_second|total_flos|epoch|num_tokens|^step$/;

export function metricNames(points: readonly MetricPoint[]): string[] {
  const names = [...new Set(points.flatMap((point) => Object.keys(point.metrics)))].filter(
    (name) => !OF_NO_INTEREST.test(name),
  );
  const rank = (name: string) => (ORDER.includes(name) ? ORDER.indexOf(name) : ORDER.length);
  return names.sort((a, b) => rank(a) - rank(b) || a.localeCompare(b));
}

export type Axis = "step" | "time";

/** Over steps, or over the seconds since the run's first point. */
export function seriesOf(points: readonly MetricPoint[], name: string, over: Axis = "step"): XY[] {
  const begin = secondsOf(points[0]);
  return points.flatMap((point): XY[] => {
    const value = point.metrics[name];
    return typeof value === "number" ? [[over === "step" ? point.step : secondsOf(point) - begin, value]] : [];
  });
}

function secondsOf(point?: MetricPoint): number {
  return point?.time ? new Date(point.time).getTime() / 1000 : 0;
}
