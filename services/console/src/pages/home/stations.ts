import { bare } from "@/api/names";
import type { Counted, Evaluation, Pipeline, Run, Summary } from "@/api/types";
import type { Key, PlainKey } from "@/i18n";
import { isOpen } from "@/ui/State";

/** A stop of the loop, clockwise from the upper left. */
export interface Station {
  id: string;
  label: PlainKey;
  /** Page of the project. */
  to: string;
  count: number | null | undefined;
  counted: Extract<Key, `loop.count.${string}`>;
  /** Work goes on here now. */
  busy: boolean;
  /** How much waits for a person here. */
  waiting: number;
}

/** Stage of a lap → stop of the loop at which it shows. */
const STOP_OF_STAGE: Record<string, string> = {
  data: "data",
  sft: "train",
  dpo: "train",
  register: "register",
  quantise: "register",
  evaluate: "evaluate",
  gate: "evaluate",
  promote: "deploy",
  shift: "deploy",
};

export function stations(
  summary: Summary,
  lap: Pipeline | undefined,
  runs: Run[],
  evaluations: Evaluation[],
): Station[] {
  const running = lap?.stages.find((stage) => bare(stage.state) === "RUNNING");
  const stop = running && STOP_OF_STAGE[running.id];
  const count = (name: Counted) => summary.counts[name];
  const waiting = count("feedback_waiting") ?? 0;
  const all: Omit<Station, "busy" | "waiting">[] = [
    { id: "data", label: "loop.data", to: "datasets", count: count("datasets"), counted: "loop.count.datasets" },
    { id: "train", label: "loop.train", to: "runs", count: count("runs"), counted: "loop.count.runs" },
    { id: "register", label: "loop.register", to: "models", count: count("models"), counted: "loop.count.models" },
    {
      id: "evaluate",
      label: "loop.evaluate",
      to: "evaluations",
      count: count("evaluations"),
      counted: "loop.count.evaluations",
    },
    {
      id: "deploy",
      label: "loop.deploy",
      to: "deployments",
      count: count("deployments"),
      counted: "loop.count.deployments",
    },
    {
      id: "serve",
      label: "loop.serve",
      to: "playground",
      count: count("completions"),
      counted: "loop.count.completions",
    },
    {
      id: "feedback",
      label: "loop.feedback",
      to: "feedback?view=",
      count: count("feedback"),
      counted: "loop.count.feedback",
    },
    { id: "review", label: "loop.review", to: "feedback", count: waiting, counted: "loop.count.waiting" },
  ];
  const busy = new Set([stop]);
  if (runs.some((run) => isOpen(run.state))) busy.add("train");
  if (evaluations.some((one) => isOpen(one.state))) busy.add("evaluate");
  return all.map((station) => ({
    ...station,
    busy: busy.has(station.id),
    waiting: station.id === "review" ? waiting : 0,
  }));
}
