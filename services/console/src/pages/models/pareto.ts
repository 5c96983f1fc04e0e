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

/** Where a mark's label stands, in pixels from the mark. */
export interface Spot {
  position: "top" | "bottom";
  distance: number;
}

/** The first that is free is taken. */
const SPOTS = [10, 24, 38].flatMap((distance): Spot[] => [
  { position: "top", distance },
  { position: "bottom", distance },
]);
/** Pixels of a small label: a character's width, and the height of a line. */
const [CHARACTER, LINE] = [6.5, 13];

type Box = [left: number, right: number, top: number, bottom: number];

/** A place for each label where it lies over no other and over no mark, if there is one. `marks` come from left to right. */
export function spotsOf(marks: readonly Mark[], width: number, height: number): Spot[] {
  const x = scale(
    marks.map((mark) => mark.cost),
    width,
  );
  const y = scale(
    marks.flatMap((mark) => [mark.lower, mark.upper, mark.score]),
    height,
  );
  const taken: Box[] = marks.map((mark) => box(x(mark.cost), height - y(mark.score), 7, 7));
  return marks.map((mark) => {
    const at = (spot: Spot) => {
      const away = (spot.distance + LINE / 2) * (spot.position === "top" ? -1 : 1);
      return box(x(mark.cost), height - y(mark.score) + away, (mark.name.length * CHARACTER) / 2, LINE / 2);
    };
    const free = SPOTS.find((one) => !taken.some((other) => overlap(at(one), other)));
    const spot = free ?? { position: "top", distance: 10 };
    taken.push(at(spot));
    return spot;
  });
}

function scale(values: number[], pixels: number): (value: number) => number {
  const [least, most] = [Math.min(...values), Math.max(...values)];
  return (value) => ((value - least) / (most - least || 1)) * pixels;
}

function box(x: number, y: number, halfWidth: number, halfHeight: number): Box {
  return [x - halfWidth, x + halfWidth, y - halfHeight, y + halfHeight];
}

function overlap(one: Box, other: Box): boolean {
  return one[0] < other[1] && other[0] < one[1] && one[2] < other[3] && other[2] < one[3];
}

/** How many candidates are measured or have failed. */
export function ended(candidates: Candidate[]): number {
  return candidates.filter((one) => ["MEASURED", "FAILED"].includes(bare(one.state))).length;
}
