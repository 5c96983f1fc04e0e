import type { Attempt } from "@/api/types";

/** One bar: an attempt in a lane, from `begin` to `end` in milliseconds. */
export interface Bar {
  lane: number;
  begin: number;
  end: number;
  attempt: Attempt;
}

export interface Gantt {
  /** Node and, where it has cards, the place among them; from top to bottom. */
  lanes: string[];
  bars: Bar[];
}

/**
 * Attempts as bars: on each node one lane for each card, and as many for work without cards as ran at once.
 * What holds several cards has a bar in each of their lanes.
 */
export function layOut(attempts: readonly Attempt[], from: number, now: number, mostLanes: number): Gantt {
  const lanes: string[] = [];
  const bars: Bar[] = [];
  const nodes = [...new Set(attempts.map((one) => one.node))].sort();
  for (const node of nodes) {
    const here = attempts.filter((one) => one.node === node).sort((one, other) => beginOf(one) - beginOf(other));
    const cards = [...new Set(here.flatMap((one) => one.card_uuids))].sort();
    const cardLanes = new Map(cards.map((uuid, at) => [uuid, lanes.length + at]));
    const name = node.slice(node.lastIndexOf("/") + 1);
    lanes.push(...cards.map((_, at) => `${name} · ${at}`));
    const freeFrom: number[] = [];
    const first = lanes.length;
    for (const attempt of here) {
      const begin = Math.max(beginOf(attempt), from);
      const end = attempt.end_time ? Date.parse(attempt.end_time) : now;
      const places = attempt.card_uuids.length
        ? attempt.card_uuids.map((uuid) => cardLanes.get(uuid) ?? first)
        : [first + take(freeFrom, begin, end)];
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
