import { get, type Params } from "@/api/client";
import type { CapacityUsage, CapacityUsageRow } from "@/api/types";

export const GROUPS = ["user", "queue", "flavor", "kind", "project"] as const;
export type Group = (typeof GROUPS)[number];
export const MEASURES = ["cost_microusd", "card_seconds", "core_seconds"] as const;
export type Measure = (typeof MEASURES)[number];

const PAGE_SIZE = 500;
/** Parts of a chart; more are not seen apart, and not fetched. */
export const MOST_ROWS = 5000;

/** The dearest rows of a report, page after page. */
export async function dearest(path: string, asked: Params, signal?: AbortSignal): Promise<CapacityUsage> {
  const params = { ...asked, order_by: "cost_microusd desc", page_size: PAGE_SIZE };
  const first = await get<CapacityUsage>(path, params, signal);
  // The other pages are of the same period, which may have been to last until now.
  const period = { start_time: first.start_time ?? undefined, end_time: first.end_time ?? undefined };
  let page = first;
  if (first.next_page_token) page = await get<CapacityUsage>(path, { ...params, ...period }, signal);
  const rows = [...page.rows];
  while (page.next_page_token && rows.length < MOST_ROWS) {
    page = await get<CapacityUsage>(path, { ...params, ...period, page_token: page.next_page_token }, signal);
    rows.push(...page.rows);
  }
  return { ...first, rows };
}

export interface Series {
  /** Value of the group; null for all that are too small for a colour of their own. */
  id: string | null;
  values: number[];
}

/** A value for each day of each of the `most` largest groups, and of the others together. */
export function seriesOf(
  rows: readonly CapacityUsageRow[],
  days: readonly string[],
  group: Group,
  measure: Measure,
  most: number,
): Series[] {
  const totals = new Map<string, number>();
  for (const row of rows) totals.set(row[group], (totals.get(row[group]) ?? 0) + Number(row[measure]));
  const largest = [...totals].sort(([, one], [, other]) => other - one).slice(0, most);
  const order: (string | null)[] = largest.map(([id]) => id);
  const series = new Map<string | null, number[]>(order.map((id) => [id, days.map(() => 0)]));
  for (const row of rows) {
    const id = series.has(row[group]) ? row[group] : null;
    const values = series.get(id) ?? days.map(() => 0);
    const at = days.indexOf((row.day ?? "").slice(0, 10));
    if (at >= 0) values[at] = (values[at] ?? 0) + Number(row[measure]);
    series.set(id, values);
  }
  return [...series].map(([id, values]) => ({ id, values }));
}
