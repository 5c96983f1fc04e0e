import { Skeleton } from "antd";
import { lazy, Suspense, useMemo } from "react";
import type { Comparison } from "@/api/types";
import { useI18n } from "@/i18n";
import { formatCost, formatPercent } from "@/i18n/format";
import { useTheme } from "@/theme";
import type { Palette } from "@/theme/palette";
import { intervals, type Mark, marksOf, spotsOf } from "./pareto";

const EChart = lazy(() => import("@/ui/chart/EChart"));
const HEIGHT = 320;

/** Score against cost: what is on the front is filled and joined, the recommendation is a diamond. */
export function ParetoChart({ comparison }: { comparison: Comparison }) {
  const { t, word, language } = useI18n();
  const { palette } = useTheme();
  const marks = useMemo(() => marksOf(comparison), [comparison]);
  const option = useMemo(
    () => ({
      ...frame(palette),
      tooltip: {
        trigger: "item",
        backgroundColor: palette.raised,
        borderColor: palette.line,
        textStyle: { color: palette.ink, fontSize: 12 },
        formatter: ({ name, value }: { name: string; value: [number, number] }) =>
          `${name}<br>${formatPercent(language, value[1])} · ${formatCost(language, value[0])}`,
      },
      xAxis: axis(palette, t("quantisations.costAxis"), (value: number) => formatCost(language, value)),
      yAxis: axis(palette, word("metric", comparison.metric), (value: number) => formatPercent(language, value)),
      series: [
        frontLine(marks, palette),
        ...intervals(marks).map((data) => ({ ...LINE, data, lineStyle: { width: 1, color: palette.ink3 } })),
        points(marks, palette),
      ],
    }),
    [marks, palette, comparison.metric, t, word, language],
  );
  return (
    <figure>
      <Suspense fallback={<Skeleton.Node active style={{ width: "100%", height: HEIGHT }} />}>
        <EChart option={option} height={HEIGHT} />
      </Suspense>
      <figcaption className="quiet">{t("quantisations.chartHint")}</figcaption>
    </figure>
  );
}

const LINE = { type: "line", animation: false, silent: true, symbol: "none", z: 1 } as const;

function frame(palette: Palette) {
  return {
    grid: { left: 8, right: 40, top: 28, bottom: 28, outerBoundsMode: "same" },
    textStyle: { fontFamily: "inherit", color: palette.ink },
  };
}

function axis(palette: Palette, name: string, formatter: (value: number) => string) {
  return {
    type: "value",
    scale: true,
    boundaryGap: ["6%", "6%"],
    name,
    nameLocation: "middle",
    nameGap: 30,
    nameTextStyle: { color: palette.ink2 },
    axisLabel: { color: palette.ink3, fontSize: 11, formatter, hideOverlap: true },
    splitLine: { lineStyle: { color: palette.lineSoft } },
  };
}

function frontLine(marks: Mark[], palette: Palette) {
  const data = marks.filter((mark) => mark.onFront).map((mark) => [mark.cost, mark.score]);
  return { ...LINE, data, lineStyle: { width: 2, type: "dashed", color: palette.accent } };
}

/** Pixels that labels are placed for: those of a phone, so that they have room on anything larger too. */
const [NARROW, LOW] = [260, 220];

function points(marks: Mark[], palette: Palette) {
  const spots = spotsOf(marks, NARROW, LOW);
  return {
    type: "scatter",
    animation: false,
    z: 3,
    data: marks.map((mark, at) => ({
      label: spots[at],
      name: mark.name,
      value: [mark.cost, mark.score],
      symbol: mark.recommended ? "diamond" : "circle",
      symbolSize: mark.recommended ? 18 : 11,
      itemStyle: {
        color: mark.onFront ? palette.accent : palette.surface,
        borderColor: mark.onFront ? palette.accent : palette.ink3,
        borderWidth: 2,
      },
    })),
    label: { show: true, formatter: "{b}", color: palette.ink2, fontSize: 11 },
  };
}
