const DAY_MS = 86_400_000;

export type Forecast =
  | { kind: "used" }
  /** It will be used up on that day if things go on like this. */
  | { kind: "on"; day: Date }
  /** It lasts until its period ends, or for more than a year. */
  | { kind: "lasts" };

/** When a budget will be used up; `perDay` is what a day used of late, in the budget's own unit. */
export function forecast(used: number, budget: number, perDay: number, now: Date, periodEnd?: Date): Forecast {
  if (used >= budget) return { kind: "used" };
  if (perDay <= 0) return { kind: "lasts" };
  const day = new Date(now.getTime() + ((budget - used) / perDay) * DAY_MS);
  const horizon = periodEnd ?? new Date(now.getTime() + 365 * DAY_MS);
  return day < horizon ? { kind: "on", day } : { kind: "lasts" };
}
