import { useQueries } from "@tanstack/react-query";
import { useMemo } from "react";
import { get } from "@/api/client";
import { partOf } from "@/api/names";
import { queryKey } from "@/api/queries";
import type { ApiKey, ListReply, UsageRow } from "@/api/types";
import { useI18n } from "@/i18n";
import { titlesOf } from "./usage";

const PARAMS = { page_size: 500 };

/**
 * Titles of keys by name, those of other projects that asked among them; `own` are the names of the project's.
 * Without the right to list keys there are none, and ids stand in their place.
 */
export function useKeyTitles(project: string, rows: readonly UsageRow[]) {
  const { t } = useI18n();
  const projects = useMemo(
    () => [...new Set([project, ...rows.map((row) => partOf(row.api_key, "projects"))])].filter(Boolean),
    [project, rows],
  );
  const found = useQueries({
    queries: projects.map((one) => {
      const path = `/projects/${one}/keys`;
      return {
        queryKey: queryKey(path, PARAMS),
        queryFn: ({ signal }: { signal: AbortSignal }) => get<ListReply & { keys: ApiKey[] }>(path, PARAMS, signal),
        retry: false,
      };
    }),
    combine: (replies) => replies.map((reply) => reply.data),
  });
  return useMemo(() => {
    const lists = new Map(projects.flatMap((one, at) => (found[at] ? [[one, found[at]] as const] : [])));
    return {
      titles: titlesOf(lists, rows, t("costs.console")),
      own: (found[0]?.keys ?? []).map((key) => key.name),
    };
  }, [projects, found, rows, t]);
}
