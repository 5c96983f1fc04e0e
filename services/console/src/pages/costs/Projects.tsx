import { useQueries } from "@tanstack/react-query";
import { Link } from "react-router";
import { get } from "@/api/client";
import { lastPart } from "@/api/names";
import { queryKey, useSession } from "@/api/queries";
import type { UsageReport } from "@/api/types";
import { useI18n } from "@/i18n";
import { formatCost, formatNumber } from "@/i18n/format";
import { Panel } from "@/ui/Page";

/** More than that nobody compares at a glance. */
const MOST = 20;

/** What each project used that the caller may see; nothing for those who see one. */
export function Projects({ start }: { start: Date }) {
  const { t, language } = useI18n();
  const projects = (useSession().data?.projects ?? []).slice(0, MOST);
  const params = { start_time: start.toISOString() };
  const reports = useQueries({
    queries: projects.map((project) => {
      const path = `/${project.name}/usage`;
      return { queryKey: queryKey(path, params), queryFn: () => get<UsageReport>(path, params) };
    }),
  });
  if (projects.length < 2) return null;
  return (
    <Panel title={t("costs.projects")}>
      <div className="stack-s">
        {projects.map((project, at) => {
          const total = reports[at]?.data?.total;
          const tokens = Number(total?.prompt_tokens ?? 0) + Number(total?.completion_tokens ?? 0);
          return (
            <div key={project.name} className="row">
              <Link className="grow ellipsis" translate="no" to={`/p/${lastPart(project.name)}/costs`}>
                {project.display_name || lastPart(project.name)}
              </Link>
              <span className="quiet num">{t("budget.tokens", { count: formatNumber(language, tokens) })}</span>
              <span className="num">{formatCost(language, Number(total?.cost_microusd ?? 0))}</span>
            </div>
          );
        })}
      </div>
    </Panel>
  );
}
