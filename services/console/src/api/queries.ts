import { keepPreviousData, type QueryKey, useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { useParams } from "react-router";
import { get, type Params } from "./client";
import { bare } from "./names";
import type { ListReply, Session } from "./types";

/** Component whose events make a collection stale: the first part of every query's key below. */
export const OWNER = {
  datasets: "dataset",
  runs: "training_scheduler",
  tries: "training_scheduler",
  recipes: "training_scheduler",
  methods: "training_scheduler",
  pipelines: "training_scheduler",
  models: "model_registry",
  "model-uploads": "model_registry",
  lineage: "model_registry",
  fit: "gpu_scheduler",
  "licence-terms": "model_registry",
  "licence-policy": "model_registry",
  suites: "evaluation",
  evaluations: "evaluation",
  verdicts: "evaluation",
  comparisons: "evaluation",
  deployments: "inference_gateway",
  completions: "inference_gateway",
  traces: "inference_gateway",
  prompts: "inference_gateway",
  "traffic-policy": "inference_gateway",
  spending: "inference_gateway",
  "inference-batches": "inference_gateway",
  usage: "inference_gateway",
  rentOrOwn: "inference_gateway",
  costs: "gpu_scheduler",
  "capacity-usage": "gpu_scheduler",
  "queue-statistics": "gpu_scheduler",
  attempts: "gpu_scheduler",
  utilisation: "gpu_scheduler",
  efficiency: "gpu_scheduler",
  feedback: "feedback",
  "feedback-batches": "feedback",
  queues: "gpu_scheduler",
  "cluster-queues": "gpu_scheduler",
  cohorts: "gpu_scheduler",
  "priority-classes": "gpu_scheduler",
  workloads: "gpu_scheduler",
  nodes: "gpu_scheduler",
  flavors: "gpu_scheduler",
  keys: "api_gateway",
  audit: "api_gateway",
  projects: "api_gateway",
  summary: "summary",
} as const;

export type Collection = keyof typeof OWNER;

export function useProject(): string {
  const { project } = useParams();
  if (!project) throw new Error("useProject outside of a project's routes");
  return project;
}

/** The path of something in the project that the address names: `/projects/p` + rest. */
export function useProjectPath(): (rest: string) => string {
  const project = useProject();
  return (rest) => `/projects/${project}${rest}`;
}

export function queryKey(path: string, params: Params = {}): QueryKey {
  const parts = path.split("/");
  const collection = (parts[1] === "projects" && parts.length > 3 ? parts[3] : parts[1]) ?? "";
  return [OWNER[collection as Collection] ?? collection, path, params];
}

interface Options {
  enabled?: boolean;
  /** Milliseconds; for what changes without an event. */
  refetchInterval?: number | false;
}

/** One resource, or any other JSON, by its path. */
export function useGet<T>(path: string, params: Params = {}, options: Options = {}) {
  return useQuery({
    queryKey: queryKey(path, params),
    queryFn: ({ signal }) => get<T>(path, params, signal),
    ...options,
  });
}

/** A list; the page before stays in view while the next one loads. */
export function useList<Name extends string, T>(path: string, params: Params = {}, options: Options = {}) {
  return useQuery({
    queryKey: queryKey(path, params),
    queryFn: ({ signal }) => get<ListReply & Record<Name, T[]>>(path, params, signal),
    placeholderData: keepPreviousData,
    ...options,
  });
}

/** A change, after which the queries of these components are asked again. */
export function useChange<Input, Output>(owners: readonly string[], change: (input: Input) => Promise<Output>) {
  const client = useQueryClient();
  return useMutation({
    mutationFn: change,
    onSettled: () =>
      Promise.all([...owners, "summary"].map((owner) => client.invalidateQueries({ queryKey: [owner] }))),
  });
}

export const SESSION_KEY: QueryKey = ["session"];

export function useSession() {
  return useQuery({
    queryKey: SESSION_KEY,
    queryFn: ({ signal }) => get<Session>("/session", {}, signal),
    staleTime: Number.POSITIVE_INFINITY,
    retry: false,
  });
}

const ROLES = ["VIEWER", "REVIEWER", "ENGINEER", "ADMIN"] as const;
export type RoleName = (typeof ROLES)[number];

/** Whether the caller's role includes `role`. The server decides again; this only hides what would be refused. */
export function useMay(role: RoleName): boolean {
  const { data } = useSession();
  const mine = ROLES.indexOf(bare(data?.role ?? "") as RoleName);
  return mine >= ROLES.indexOf(role);
}
