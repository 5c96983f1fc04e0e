import type { AddedNodes, SimulationReport } from "@/api/types";

/** In the order of the scheduler's own table, which a test compares. */
export const POLICIES = ["fifo", "best-effort", "backfill", "fair", "las", "hetero", "srtf"] as const;

type Figure = keyof SimulationReport;

/** What the table compares, from what people feel to what operators watch; `unit` says how it is written. */
export const FIGURES = [
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
] as const satisfies readonly { field: Figure; unit: "time" | "share" | "number"; less: boolean | null }[];

export type Compared = (typeof FIGURES)[number];

/** What the chart draws. */
export const TIMES = FIGURES.filter((one) => one.unit === "time" && one.field !== "makespan_seconds");

export interface Typed {
  nodes: number;
  flavor: string;
  cards: number;
  /** Cores of each node; null: as many as the flavor's largest has. */
  cores: number | null;
  days: number;
  /** Empty: the platform's own. */
  policy: string;
}

export function questionOf(typed: Typed) {
  const added: AddedNodes = {
    node_count: typed.nodes,
    flavor: typed.flavor,
    cards_per_node: typed.cards,
    cpu_milli_per_node: Math.round((typed.cores ?? 0) * 1000),
  };
  return { additions: [added], days: typed.days, policy: typed.policy };
}

/** Whether `after` is better than `before`; null where neither is, or where nobody can say. */
export function isBetter({ field, less }: Compared, before: SimulationReport, after: SimulationReport): boolean | null {
  const [was, is] = [before[field], after[field]];
  if (less === null || was == null || is == null || was === is) return null;
  return is < was === less;
}

/** By how much of what it was `after` differs: -0.5 is half. Null where there is nothing to compare. */
export function changeOf(was: number | null | undefined, is: number | null | undefined): number | null {
  return was == null || is == null || was === 0 ? null : is / was - 1;
}
