import { useMemo } from "react";
import { useI18n } from "@/i18n";
import { formatCost, formatNumber } from "@/i18n/format";
import { useTheme } from "@/theme";
import { Plot } from "@/ui/chart/Plot";
import { colours, frame } from "./chart";
import type { Measure, Series } from "./usage";

const HEIGHT = 300;
const EMPTY_MAX: Record<Measure, number> = { cost: 800_000, tokens: 100, requests: 4 };

/** What was used on each day, group upon group. */
export function UsageChart({
  days,
  series,
  measure,
  label,
}: {
  days: readonly string[];
  series: readonly Series[];
  measure: Measure;
  label: (id: string) => string;
}) {
  const { t, language } = useI18n();
  const { palette } = useTheme();
  const option = useMemo(() => {
    const show = (value: number) =>
      measure === "cost" ? formatCost(language, value) : formatNumber(language, value, measure === "requests" ? 0 : 1);
    const look = frame(palette, show);
    const paint = colours(palette);
    return {
      ...look,
      // Without a bound, an axis of zeros has marks that read alike.
      yAxis: { ...look.yAxis, max: ({ max }: { max: number }) => (max > 0 ? null : EMPTY_MAX[measure]) },
      tooltip: { ...look.tooltip, valueFormatter: (value: unknown) => show(Number(value)) },
      xAxis: {
        type: "category",
        data: days.map((day) => day.slice(5)),
        axisTick: { show: false },
        axisLine: { lineStyle: { color: palette.line } },
        axisLabel: { color: palette.ink3, fontSize: 11, hideOverlap: true },
      },
      series: series.map(({ id, values }, at) => ({
        type: "bar",
        stack: "all",
        name: id ? label(id) : t("costs.others"),
        data: values,
        barMaxWidth: 36,
        animation: false,
        itemStyle: { color: id ? paint[at % paint.length] : palette.line },
      })),
    };
  }, [days, series, measure, label, language, palette, t]);
  return <Plot option={option} height={HEIGHT} caption={t("costs.chartCaption", { n: days.length })} />;
}
