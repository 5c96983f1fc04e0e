import type { AddedNodes, SimulationReport } from "@/api/types";

/** In the order of the scheduler's own table, which a test compares. */
export const POLICIES = ["fifo", "best-effort", "backfill", "fair", "las", "hetero", "srtf"] as const;

type Figure = keyof SimulationReport;

/** What the table compares, from what was asked to what people feel and what operators watch; `unit` says how it is written. */
export const FIGURES = [
  { field: "node_count", unit: "number", less: null },
  { field: "hour_microusd", unit: "money", less: true },
  { field: "mean_wait_seconds", unit: "time", less: true },
  { field: "p50_wait_seconds", unit: "time", less: true },
  { field: "p99_wait_seconds", unit: "time", less: true },
  { field: "mean_completion_seconds", unit: "time", less: true },
  { field: "p50_completion_seconds", unit: "time", less: true },
  { field: "p99_completion_seconds", unit: "time", less: true },
  { field: "makespan_seconds", unit: "time", less: true },
  { field: "utilisation", unit: "share", less: null },
  { field: "fragmentation", unit: "share", less: true },
  { field: "p99_finish_time_fairness", unit: "number", less: true },
  { field: "preemption_count", unit: "number", less: true },
  { field: "refused_count", unit: "number", less: true },
] as const satisfies readonly { field: Figure; unit: "time" | "share" | "number" | "money"; less: boolean | null }[];

export type Compared = (typeof FIGURES)[number];

/** What the chart draws. */
export const TIMES = FIGURES.filter((one) => one.unit === "time" && one.field !== "makespan_seconds");

export interface Typed {
  /** Nodes to add; 0 or null: none. */
  nodes: number | null;
  flavor: string;
  cards: number | null;
  /** Cores of each node; null: as many as the flavor's largest has. */
  cores: number | null;
  /** Nodes to do without, by name. */
  removals: string[];
  days: number;
  /** Empty: the platform's own. */
  policy: string;
}

export function questionOf(typed: Typed) {
  const added: AddedNodes = {
    node_count: typed.nodes ?? 0,
    flavor: typed.flavor,
    cards_per_node: typed.cards ?? 0,
    cpu_milli_per_node: Math.round((typed.cores ?? 0) * 1000),
  };
  const additions = added.node_count > 0 ? [added] : [];
  return { additions, removals: typed.removals, days: typed.days, policy: typed.policy };
}

const STEPS = [1, 5, 15, 30, 60, 300, 900, 1800, 3600, 7200, 14_400, 28_800, 86_400, 172_800, 604_800];

/** Seconds between the lines of an axis of times up to `most`: so many that there are at most six. */
export function stepOf(most: number): number {
  return STEPS.find((step) => most / step <= 6) ?? Math.ceil(most / 6 / 604_800) * 604_800;
}

/** Null where there is nothing to tell; what the wire writes as text because it is long is a number again. */
export function figureOf(report: SimulationReport, field: Compared["field"]): number | null {
  const value = report[field];
  return value == null ? null : Number(value);
}

/** Whether `after` is better than `before`; null where neither is, or where nobody can say. */
export function isBetter({ field, less }: Compared, before: SimulationReport, after: SimulationReport): boolean | null {
  const [was, is] = [figureOf(before, field), figureOf(after, field)];
  if (less === null || was === null || is === null || was === is) return null;
  return is < was === less;
}

/** By how much of what it was `after` differs: -0.5 is half. Null where there is nothing to compare. */
export function changeOf(was: number | null | undefined, is: number | null | undefined): number | null {
  return was == null || is == null || was === 0 ? null : is / was - 1;
}
