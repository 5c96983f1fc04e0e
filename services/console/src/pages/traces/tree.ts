import type { Step, Trace } from "@/api/types";

export interface Node {
  step: Step;
  depth: number;
  /** Shares of the trace's time, from 0 to 1. */
  from: number;
  share: number;
}

/** Narrower bars could not be seen. */
const THINNEST = 0.004;

/**
 * Steps in the order in which they began, each below its parent. One whose parent is not there, or that would be its own
 * ancestor, stands at the top.
 */
export function nodesOf(trace: Pick<Trace, "steps" | "start_time" | "duration_ms">): Node[] {
  const known = new Set(trace.steps.map((step) => step.span_id));
  const below = new Map<string, Step[]>();
  for (const step of trace.steps) {
    const parent = known.has(step.parent_span_id) ? step.parent_span_id : "";
    below.set(parent, [...(below.get(parent) ?? []), step]);
  }
  const begin = Date.parse(trace.start_time ?? "");
  const whole = Math.max(trace.duration_ms, 1);
  const nodes: Node[] = [];
  const seen = new Set<string>();
  const walk = (step: Step, depth: number) => {
    if (seen.has(step.name)) return;
    seen.add(step.name);
    const from = clamp((Date.parse(step.start_time ?? "") - begin) / whole, 1 - THINNEST);
    nodes.push({ step, depth, from, share: Math.max(THINNEST, clamp(step.duration_ms / whole, 1 - from)) });
    for (const child of below.get(step.span_id) ?? []) walk(child, depth + 1);
  };
  for (const step of [...(below.get("") ?? []), ...trace.steps]) walk(step, 0);
  return nodes;
}

function clamp(share: number, most: number): number {
  return Math.min(Math.max(share || 0, 0), most);
}
