import { useQuery } from "@tanstack/react-query";
import { useMemo } from "react";
import { queryKey } from "@/api/queries";
import { useI18n } from "@/i18n";
import { formatCost, formatDuration } from "@/i18n/format";
import { colours, frame } from "@/pages/costs/chart";
import { daysBetween } from "@/pages/costs/usage";
import { useTheme } from "@/theme";
import { Plot } from "@/ui/chart/Plot";
import { SkeletonRows } from "@/ui/ResourceTable";
import { Trouble } from "@/ui/Trouble";
import { dearest, type Group, type Measure, MOST_ROWS, seriesOf } from "./showback";

const HEIGHT = 280;
/** Groups with a colour of their own. */
const MOST = 6;
const REFRESH = 30_000;

/** What was held on each day, group upon group. */
export function ShowbackChart({
  path,
  start,
  end,
  group,
  measure,
  label,
}: {
  path: string;
  start: Date;
  end: Date;
  group: Group;
  measure: Measure;
  label: (group: Group, value: string) => string;
}) {
  const { t, language } = useI18n();
  const { palette } = useTheme();
  const params = { group_by: `day,${group}`, start_time: start.toISOString() };
  const report = useQuery({
    queryKey: queryKey(path, params),
    queryFn: ({ signal }) => dearest(path, params, signal),
    refetchInterval: REFRESH,
  });
  const rows = report.data?.rows;
  const days = useMemo(() => daysBetween(start, end), [start, end]);
  const option = useMemo(() => {
    const show = (value: number) =>
      measure === "cost_microusd" ? formatCost(language, value) : formatDuration(language, value);
    const look = frame(palette, show);
    const paint = colours(palette);
    return {
      ...look,
      tooltip: { ...look.tooltip, valueFormatter: (value: unknown) => show(Number(value)) },
      xAxis: {
        type: "category",
        data: days.map((day) => day.slice(5)),
        axisTick: { show: false },
        axisLine: { lineStyle: { color: palette.line } },
        axisLabel: { color: palette.ink3, fontSize: 11, hideOverlap: true },
      },
      series: seriesOf(rows ?? [], days, group, measure, MOST).map(({ id, values }, at) => ({
        type: "bar",
        stack: "all",
        name: id === null ? t("costs.others") : label(group, id),
        data: values,
        barMaxWidth: 36,
        animation: false,
        itemStyle: { color: id === null ? palette.line : paint[at % paint.length] },
      })),
    };
  }, [rows, days, group, measure, label, language, palette, t]);
  if (report.isError) return <Trouble error={report.error} retry={() => report.refetch()} />;
  if (report.isPending) return <SkeletonRows columns={5} />;
  return (
    <>
      <div translate="no">
        <Plot
          key={`${group} ${measure}`}
          option={option}
          height={HEIGHT}
          caption={t("showback.caption", { n: days.length })}
        />
      </div>
      {report.data.total_size > MOST_ROWS && <p className="quiet">{t("showback.cut", { n: MOST_ROWS })}</p>}
    </>
  );
}
