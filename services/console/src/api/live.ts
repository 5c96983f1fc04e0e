import { useQueryClient } from "@tanstack/react-query";
import { useEffect, useState } from "react";
import { url } from "./client";
import { partOf } from "./names";
import { queryKey, useProject } from "./queries";
import type { MetricPoint, PlatformEvent, Run, RunUpdate } from "./types";

/** Events come in bursts (a run reports a checkpoint, its workload a change): one refresh for all of them. */
const GATHER_MS = 400;

/** Asks stale lists again as soon as the platform says that something happened in the project. */
export function useLiveRefresh(): void {
  const client = useQueryClient();
  const project = useProject();

  useEffect(() => {
    const source = new EventSource(url("/events"));
    const stale = new Set<string>();
    let timer: number | undefined;
    const refresh = () => {
      timer = undefined;
      for (const owner of stale) void client.invalidateQueries({ queryKey: [owner] });
      void client.invalidateQueries({ queryKey: ["summary"] });
      stale.clear();
    };
    source.addEventListener("fact", (message: MessageEvent<string>) => {
      const { type, subject } = JSON.parse(message.data) as PlatformEvent;
      if (subject.startsWith("projects/") && partOf(subject, "projects") !== project) return;
      stale.add(type.split(".")[1] ?? "");
      timer ??= window.setTimeout(refresh, GATHER_MS);
    });
    return () => {
      window.clearTimeout(timer);
      source.close();
    };
  }, [client, project]);
}

/** A run's points as they come, kept when it has ended; the run itself is put where its query finds it. */
export function useRunPoints(project: string, id: string, live: boolean): MetricPoint[] {
  const client = useQueryClient();
  const [points, setPoints] = useState<MetricPoint[]>([]);

  // biome-ignore lint/correctness/useExhaustiveDependencies: another run begins without points
  useEffect(() => setPoints([]), [project, id]);

  useEffect(() => {
    if (!live) return;
    const source = new EventSource(url(`/projects/${project}/runs/${id}/events`));
    source.onmessage = (message: MessageEvent<string>) => {
      const update = JSON.parse(message.data) as RunUpdate;
      if (update.run) client.setQueryData<Run>(queryKey(`/projects/${project}/runs/${id}`), update.run);
      if (update.points.length) setPoints((before) => merge(before, update.points));
    };
    // The stream ends with the run; left alone, the browser would open it again.
    source.addEventListener("end", () => source.close());
    return () => source.close();
  }, [client, project, id, live]);

  return points;
}

/** By step: a later point of the same step replaces the older one, as after a resume. */
export function merge(before: readonly MetricPoint[], news: readonly MetricPoint[]): MetricPoint[] {
  const bySteps = new Map(before.map((point) => [point.step, point]));
  for (const point of news) bySteps.set(point.step, point);
  return [...bySteps.values()].sort((a, b) => a.step - b.step);
}
