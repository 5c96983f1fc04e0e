import type { Attempt } from "@/api/types";

/** One bar: an attempt in a lane, from `begin` to `end` in milliseconds. */
export interface Bar {
  lane: number;
  begin: number;
  end: number;
  attempt: Attempt;
}

export interface Gantt {
  /** Node and, where it has cards, the place among them; or queue; from top to bottom. */
  lanes: string[];
  bars: Bar[];
}

export const ROWS = ["node", "queue"] as const;
export type Rows = (typeof ROWS)[number];

export const ENDS = ["running", "finished", "preempted", "failed", "lost"] as const;
export type End = (typeof ENDS)[number];

/** How an attempt ended. Without an exit code nobody saw its end, which is no success. */
export function endOf(attempt: Attempt): End {
  if (!attempt.end_time) return "running";
  if (attempt.preempted) return "preempted";
  if (attempt.end_reason === "NODE_LOST") return "lost";
  return attempt.exit_code === 0 ? "finished" : "failed";
}

/**
 * Attempts as bars. By node: on each one lane for each card, and as many for work without cards as ran at once; what
 * holds several cards has a bar in each of their lanes. By queue: as many lanes as ran at once.
 */
export function layOut(
  attempts: readonly Attempt[],
  { from, now, mostLanes, rows }: { from: number; now: number; mostLanes: number; rows: Rows },
): Gantt {
  const lanes: string[] = [];
  const bars: Bar[] = [];
  const groups = [...new Set(attempts.map((one) => one[rows]))].sort();
  for (const group of groups) {
    const here = attempts.filter((one) => one[rows] === group).sort((one, other) => beginOf(one) - beginOf(other));
    const cards = rows === "node" ? [...new Set(here.flatMap((one) => one.card_uuids))].sort() : [];
    const cardLanes = new Map(cards.map((uuid, at) => [uuid, lanes.length + at]));
    const name = group.slice(group.lastIndexOf("/") + 1);
    lanes.push(...cards.map((_, at) => `${name} · ${at}`));
    const freeFrom: number[] = [];
    const first = lanes.length;
    for (const attempt of here) {
      const begin = Math.max(beginOf(attempt), from);
      const end = attempt.end_time ? Date.parse(attempt.end_time) : now;
      const held = attempt.card_uuids.flatMap((uuid) => cardLanes.get(uuid) ?? []);
      const places = held.length ? held : [first + take(freeFrom, begin, end)];
      for (const lane of places) bars.push({ lane, begin, end, attempt });
    }
    lanes.push(...freeFrom.map(() => name));
  }
  return { lanes: lanes.slice(0, mostLanes), bars: bars.filter((bar) => bar.lane < mostLanes) };
}

/** The first lane that is free at `begin`, taken until `end`. */
function take(freeFrom: number[], begin: number, end: number): number {
  const found = freeFrom.findIndex((free) => free <= begin);
  const lane = found >= 0 ? found : freeFrom.length;
  freeFrom[lane] = end;
  return lane;
}

function beginOf(attempt: Attempt): number {
  return Date.parse(attempt.admit_time ?? "");
}
