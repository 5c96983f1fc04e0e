import type { Params } from "@/api/client";

/** Behind "More filters"; the others are always there. */
export const RARE = [
  "model_version",
  "api_key",
  "prompt",
  "finish_reason",
  "min_total_tokens",
  "start_time",
  "end_time",
] as const;
const FILTERS = ["deployment", "session", "rating", "with_error", "min_duration_ms", "since", ...RARE] as const;
export type Filter = (typeof FILTERS)[number];

const HOUR_MS = 3_600_000;
/** Times are asked for to the minute, so that a list that is drawn again asks the same question. */
const MINUTE_MS = 60_000;

export function isFiltered(address: URLSearchParams): boolean {
  return FILTERS.some((name) => address.get(name));
}

export function rareCount(address: URLSearchParams): number {
  return RARE.filter((name) => address.get(name)).length;
}

/** What the server is asked. A time that somebody gave comes before "the last so many hours". */
export function paramsOf(address: URLSearchParams, now: Date): Params {
  const { since, start_time, ...plain } = Object.fromEntries(FILTERS.map((name) => [name, address.get(name) ?? ""]));
  const begun = Math.floor((now.getTime() - Number(since) * HOUR_MS) / MINUTE_MS) * MINUTE_MS;
  return { ...plain, start_time: start_time || (since ? new Date(begun).toISOString() : "") };
}

/** A moment as a field for local times has it: `2026-11-27T14:05`; empty for none, or for what is no time. */
export function toLocal(iso: string): string {
  const time = new Date(iso);
  if (!iso || Number.isNaN(time.getTime())) return "";
  return new Date(time.getTime() - time.getTimezoneOffset() * MINUTE_MS).toISOString().slice(0, 16);
}

export function fromLocal(local: string): string {
  return local ? new Date(local).toISOString() : "";
}
