import type { Project, Role } from "./types.gen";

export type * from "./types.gen";

/** Who is signed in, as GET /session says. */
export interface Session {
  identity: string;
  role: Role;
  /** Whether the key is an administrator's, who may create projects. */
  all_projects: boolean;
  projects: Pick<Project, "name" | "display_name">[];
}

/** A page of a list; the rows are under the name of their kind. */
export interface ListReply {
  next_page_token: string;
  total_size: number | string;
}

/** What Home counts, as GET /projects/{p}/summary says; null where the service in charge does not answer. */
export interface Summary {
  counts: Partial<Record<Counted, number | null>>;
  /** Millionths of a US dollar. */
  spend_microusd: number | null;
}

export type Counted =
  | "datasets"
  | "models"
  | "runs"
  | "runs_running"
  | "runs_queued"
  | "pipelines"
  | "evaluations"
  | "deployments"
  | "completions"
  | "feedback"
  | "feedback_waiting"
  | "workloads";

/** A fact of the platform, as /events sends it. */
export interface PlatformEvent {
  id: string;
  type: string;
  subject: string;
  time: string;
}
