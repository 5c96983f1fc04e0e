import { Link } from "react-router";
import { useGet, useList, useProject } from "@/api/queries";
import type { ApiKey, ProjectSpending, Spending, UsageReport } from "@/api/types";
import { useI18n } from "@/i18n";
import { formatCost, formatNumber } from "@/i18n/format";
import { Meter } from "@/pages/queue/Meter";
import "@/pages/queue/queue.css";
import { Empty } from "@/ui/Empty";
import { Panel } from "@/ui/Page";
import { SkeletonRows } from "@/ui/ResourceTable";
import { Trouble } from "@/ui/Trouble";
import { forecast } from "./forecast";

/** Days that the pace is taken from. */
const LOOK_BACK = 7;
const DAY_MS = 86_400_000;

interface Line {
  id: string;
  name: string;
  used: number;
  budget: number;
  perDay: number;
  isMoney: boolean;
  periodEnd?: Date;
}

/** Budgets against what was used, and when they will be used up if things go on like this. */
export function Budgets() {
  const { t } = useI18n();
  const project = useProject();
  const spending = useGet<ProjectSpending>(`/projects/${project}/spending`, {}, { refetchInterval: 5000 });
  const pace = useGet<UsageReport>(`/projects/${project}/usage`, { group_by: "key", start_time: weekAgo() });
  const keys = useList<"keys", ApiKey>(`/projects/${project}/keys`, { page_size: 200 });
  const titles = new Map(keys.data?.keys.map((key) => [key.name, key.display_name || `${key.prefix}…`]));
  const lines = spending.data ? linesOf(spending.data, pace.data, titles, t("costs.wholeProject")) : [];
  return (
    <Panel title={t("costs.budgets")} extra={<Link to={`/p/${project}/access`}>{t("nav.access")}</Link>}>
      {spending.isError ? (
        <Trouble error={spending.error} retry={() => spending.refetch()} />
      ) : spending.isPending ? (
        <SkeletonRows columns={2} rows={3} />
      ) : lines.length === 0 ? (
        <Empty title={t("costs.noBudget")} hint={t("costs.noBudgetHint")} />
      ) : (
        <div className="stack">
          {lines.map((line) => (
            <BudgetLine key={line.id} line={line} />
          ))}
        </div>
      )}
    </Panel>
  );
}

function BudgetLine({ line }: { line: Line }) {
  const { t, language } = useI18n();
  const show = (value: number) =>
    line.isMoney ? formatCost(language, value) : t("budget.tokens", { count: formatNumber(language, value) });
  const found = forecast(line.used, line.budget, line.perDay, new Date(), line.periodEnd);
  const day = (date: Date) => date.toLocaleDateString(language, { month: "short", day: "numeric", timeZone: "UTC" });
  const said =
    found.kind === "used"
      ? t("costs.usedUp")
      : found.kind === "on"
        ? t("costs.usedUpOn", { day: day(found.day) })
        : line.periodEnd
          ? t("costs.lastsUntil", { day: day(line.periodEnd) })
          : t("costs.lasts");
  return (
    <div className="stack-s">
      <Meter label={line.name} used={line.used} of={line.budget} text={`${show(line.used)} / ${show(line.budget)}`} />
      <span className={found.kind === "lasts" ? "quiet" : "costs-warn"}>{said}</span>
    </div>
  );
}

function linesOf(
  { project, keys }: ProjectSpending,
  pace: UsageReport | undefined,
  titles: ReadonlyMap<string, string>,
  whole: string,
): Line[] {
  const paces = new Map((pace?.rows ?? []).map((row) => [row.api_key, row]));
  const of = (spending: Spending, name: string, row: UsageReport["total"] | undefined): Line[] => {
    const periodEnd = spending.period_end_time ? new Date(spending.period_end_time) : undefined;
    const perDay = (value: number) => value / LOOK_BACK;
    const tokens = Number(row?.prompt_tokens ?? 0) + Number(row?.completion_tokens ?? 0);
    return [
      {
        id: `${spending.name} money`,
        name,
        used: Number(spending.cost_microusd),
        budget: Number(spending.budget_microusd),
        perDay: perDay(Number(row?.cost_microusd ?? 0)),
        isMoney: true,
        periodEnd,
      },
      {
        id: `${spending.name} tokens`,
        name,
        used: Number(spending.tokens),
        budget: Number(spending.budget_tokens),
        perDay: perDay(tokens),
        isMoney: false,
        periodEnd,
      },
    ].filter((line) => line.budget > 0);
  };
  return [
    ...(project ? of(project, whole, pace?.total) : []),
    ...keys.flatMap((key) => of(key, titles.get(key.name) ?? key.name.slice(-8), paces.get(key.name))),
  ];
}

/** The beginning of the hour, a week ago: the same address for an hour. */
function weekAgo(): string {
  const time = new Date(Date.now() - LOOK_BACK * DAY_MS);
  time.setUTCMinutes(0, 0, 0);
  return time.toISOString();
}
