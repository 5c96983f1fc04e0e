import { DownloadOutlined } from "@ant-design/icons";
import { Button, Segmented, Select } from "antd";
import { useMemo } from "react";
import { useSearchParams } from "react-router";
import { useGet, useProject } from "@/api/queries";
import type { UsageReport } from "@/api/types";
import { type PlainKey, useI18n } from "@/i18n";
import { Empty } from "@/ui/Empty";
import { Page, Panel } from "@/ui/Page";
import { SkeletonRows } from "@/ui/ResourceTable";
import { Trouble } from "@/ui/Trouble";
import { Budgets } from "./Budgets";
import { Machines } from "./Machines";
import { Projects } from "./Projects";
import { RentOrOwn } from "./RentOrOwn";
import { UsageChart } from "./UsageChart";
import { UsageTable } from "./UsageTable";
import {
  daysBetween,
  GROUPS,
  type Group,
  labelOf,
  MEASURES,
  type Measure,
  seriesOf,
  sums,
  toCsv,
  withUnused,
} from "./usage";
import { useKeyTitles } from "./useKeyTitles";
import "./costs.css";

const PERIODS = [7, 30, 90] as const;
const DAY_MS = 86_400_000;
/** Groups with a colour of their own. */
const MOST = 6;
/** Milliseconds: usage comes to the books every few seconds, and no event tells of it. */
const REFRESH = 15_000;

/** What was used and what it cost, how far budgets go, and whether to rent or to own. */
export function Costs() {
  const { t } = useI18n();
  const project = useProject();
  const [address, setAddress] = useSearchParams();
  const days = Number(address.get("days")) || 30;
  const set = (name: string, value: string | number) =>
    setAddress(
      (before) => {
        const after = new URLSearchParams(before);
        after.set(name, String(value));
        return after;
      },
      { replace: true },
    );
  const group = pick(GROUPS, address.get("by"));
  const measure = pick(MEASURES, address.get("of"));
  const period = usePeriod(days);
  const usage = useGet<UsageReport>(
    `/projects/${project}/usage`,
    { group_by: "day,key,deployment,model", start_time: period.start.toISOString() },
    { refetchInterval: REFRESH },
  );
  const rows = usage.data?.rows ?? [];
  const { titles: keys, own } = useKeyTitles(project, rows);
  return (
    <Page
      title={t("costs.title")}
      lead={t("costs.lead")}
      actions={
        <>
          <Segmented
            aria-label={t("costs.period")}
            value={days}
            onChange={(value) => set("days", value)}
            options={PERIODS.map((value) => ({ value, label: t("costs.days", { n: value }) }))}
          />
          <Button
            icon={<DownloadOutlined aria-hidden />}
            disabled={!rows.length}
            onClick={() => download(`usage-${project}-${days}d.csv`, toCsv(rows, keys))}
          >
            {t("costs.csv")}
          </Button>
        </>
      }
    >
      <Panel
        title={t("costs.usage")}
        extra={
          <div className="row wrap">
            <Segmented<Measure>
              size="small"
              aria-label={t("costs.measure")}
              value={measure}
              onChange={(value) => set("of", value)}
              options={MEASURES.map((value) => ({ value, label: t(`costs.measure.${value}` as PlainKey) }))}
            />
            <Select<Group>
              size="small"
              aria-label={t("costs.by")}
              value={group}
              onChange={(value) => set("by", value)}
              options={GROUPS.map((value) => ({ value, label: t(`costs.by.${value}` as PlainKey) }))}
            />
          </div>
        }
      >
        {usage.isError ? (
          <Trouble error={usage.error} retry={() => usage.refetch()} />
        ) : usage.isPending ? (
          <SkeletonRows columns={5} />
        ) : rows.length === 0 ? (
          <Empty title={t("costs.empty")} hint={t("costs.emptyHint")} />
        ) : (
          <div className="stack">
            <UsageChart
              days={daysBetween(period.start, period.end)}
              series={seriesOf(rows, daysBetween(period.start, period.end), group, measure, MOST)}
              measure={measure}
              label={(id) => labelOf(id, keys)}
            />
            <UsageTable
              sums={group === "key" ? withUnused(sums(rows, group, measure), own) : sums(rows, group, measure)}
              title={t(`costs.by.${group}` as PlainKey)}
              label={(id) => labelOf(id, keys)}
            />
          </div>
        )}
      </Panel>
      <div className="costs-two">
        <Budgets />
        <div className="stack">
          <Machines start={period.start} />
          <Projects start={period.start} />
        </div>
      </div>
      <RentOrOwn />
    </Page>
  );
}

function pick<T extends string>(known: readonly [T, ...T[]], given: string | null): T {
  return known.find((one) => one === given) ?? known[0];
}

/** The last so many days of UTC, today with them; the same object until the choice changes. */
function usePeriod(days: number) {
  return useMemo(() => {
    const end = new Date();
    const start = new Date(end.getTime() - (days - 1) * DAY_MS);
    start.setUTCHours(0, 0, 0, 0);
    return { start, end };
  }, [days]);
}

function download(name: string, text: string) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob(["\ufeff", text], { type: "text/csv;charset=utf-8" }));
  link.download = name;
  link.click();
  URL.revokeObjectURL(link.href);
}
