import { lastPart, partOf, shortName } from "@/api/names";
import type { ApiKey, ListReply, UsageRow } from "@/api/types";

export const GROUPS = ["model", "deployment", "key"] as const;
export type Group = (typeof GROUPS)[number];
export const MEASURES = ["cost", "tokens", "requests"] as const;
export type Measure = (typeof MEASURES)[number];

/** What one group used; money in millionths of a US dollar. */
export interface Sum {
  /** Resource name, or an attached engine's name for its model. */
  id: string;
  requests: number;
  promptTokens: number;
  answerTokens: number;
  cost: number;
}

export function measured(sum: Sum, measure: Measure): number {
  return measure === "cost" ? sum.cost : measure === "requests" ? sum.requests : sum.promptTokens + sum.answerTokens;
}

export function groupOf(row: UsageRow, group: Group): string {
  if (group === "key") return row.api_key;
  return group === "deployment" ? row.deployment : row.model_version || row.upstream_model;
}

/** What people call a group; `keys` are the titles of keys by resource name. */
export function labelOf(id: string, keys: ReadonlyMap<string, string>): string {
  return keys.get(id) || (id.includes("/keys/") ? `…${lastPart(id).slice(-6)}` : shortName(id));
}

/**
 * Titles of keys by name; `lists` by project. What asked and is in no whole list of its project is the console's own key, which lists leave
 * out; `consoles` is what that is called.
 */
export function titlesOf(
  lists: ReadonlyMap<string, ListReply & { keys: readonly ApiKey[] }>,
  rows: readonly UsageRow[],
  consoles: string,
): Map<string, string> {
  const titles = new Map<string, string>();
  for (const [project, { keys, total_size }] of lists) {
    for (const key of keys) titles.set(key.name, key.display_name || `${key.prefix}…`);
    if (keys.length < Number(total_size)) continue;
    for (const { api_key } of rows)
      if (partOf(api_key, "projects") === project && !titles.has(api_key)) titles.set(api_key, consoles);
  }
  return titles;
}

/** One sum for each group, most used first. */
export function sums(rows: readonly UsageRow[], group: Group, measure: Measure): Sum[] {
  const found = new Map<string, Sum>();
  for (const row of rows) {
    const id = groupOf(row, group);
    const sum = found.get(id) ?? { id, requests: 0, promptTokens: 0, answerTokens: 0, cost: 0 };
    sum.requests += Number(row.request_count);
    sum.promptTokens += Number(row.prompt_tokens);
    sum.answerTokens += Number(row.completion_tokens);
    sum.cost += Number(row.cost_microusd);
    found.set(id, sum);
  }
  return [...found.values()].sort((one, other) => measured(other, measure) - measured(one, measure));
}

/** And zeros for those of `ids` that used nothing. */
export function withUnused(used: readonly Sum[], ids: Iterable<string>): Sum[] {
  const known = new Set(used.map((sum) => sum.id));
  const unused = [...ids].filter((id) => !known.has(id));
  return [...used, ...unused.map((id) => ({ id, requests: 0, promptTokens: 0, answerTokens: 0, cost: 0 }))];
}

export interface Series {
  /** Empty for all that are too small for a colour of their own. */
  id: string;
  values: number[];
}

/** Days from `start` to `end`, as `2026-11-26`, in UTC as the server counts. */
export function daysBetween(start: Date, end: Date): string[] {
  const days: string[] = [];
  const day = new Date(Date.UTC(start.getUTCFullYear(), start.getUTCMonth(), start.getUTCDate()));
  for (; day < end; day.setUTCDate(day.getUTCDate() + 1)) days.push(day.toISOString().slice(0, 10));
  return days;
}

/** A value for each day of each of the `most` largest groups, and of the others together. */
export function seriesOf(
  rows: readonly UsageRow[],
  days: readonly string[],
  group: Group,
  measure: Measure,
  most: number,
): Series[] {
  const largest = sums(rows, group, measure)
    .slice(0, most)
    .map((sum) => sum.id);
  const series = new Map<string, number[]>();
  for (const row of rows) {
    const id = groupOf(row, group);
    const key = largest.includes(id) ? id : "";
    const values = series.get(key) ?? days.map(() => 0);
    const at = days.indexOf((row.day ?? "").slice(0, 10));
    const [sum] = sums([row], group, measure);
    if (at >= 0 && sum) values[at] = (values[at] ?? 0) + measured(sum, measure);
    series.set(key, values);
  }
  const order = [...largest, ""].filter((id) => series.has(id));
  return order.map((id) => ({ id, values: series.get(id) ?? [] }));
}

const COLUMNS = [
  "day",
  "api_key",
  "key_title",
  "deployment",
  "model_version",
  "upstream_model",
  "request_count",
  "prompt_tokens",
  "completion_tokens",
  "cost_usd",
] as const;

/** The rows as a file for spreadsheets, RFC 4180. */
export function toCsv(rows: readonly UsageRow[], keys: ReadonlyMap<string, string>): string {
  const lines = rows.map((row) =>
    [
      (row.day ?? "").slice(0, 10),
      row.api_key,
      keys.get(row.api_key) ?? "",
      row.deployment,
      row.model_version,
      row.upstream_model,
      row.request_count,
      row.prompt_tokens,
      row.completion_tokens,
      (Number(row.cost_microusd) / 1e6).toFixed(6),
    ]
      .map(csvField)
      .join(","),
  );
  return [COLUMNS.join(","), ...lines, ""].join("\r\n");
}

/** A spreadsheet takes what begins with one of these for a formula. */
const FORMULA = /^[=+\-@\t\r]/;

function csvField(value: string): string {
  const safe = FORMULA.test(value) ? `'${value}` : value;
  return /[",\r\n]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
}
