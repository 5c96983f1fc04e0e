import { useMemo } from "react";
import { useI18n } from "@/i18n";
import { formatNumber } from "@/i18n/format";
import { useTheme } from "@/theme";
import { type Palette, seriesColours } from "@/theme/palette";
import type { XY } from "@/ui/chart/Curve";
import { Plot } from "@/ui/chart/Plot";
import type { Axis } from "./curves";

interface Named {
  name: string;
  points: XY[];
}

/** Curves over one another, with one axis for all. */
export function Overlay({ curves, over }: { curves: Named[]; over: Axis }) {
  const { t, language } = useI18n();
  const { palette } = useTheme();
  const unit = t(over === "step" ? "chart.step" : "chart.second");
  const option = useMemo(() => toOption(curves, unit, palette), [curves, unit, palette]);
  const caption = curves
    .filter(({ points }) => points.length)
    .map(({ name, points }) =>
      t("chart.summary", {
        name,
        n: points.length,
        first: formatNumber(language, points[0]?.[1] ?? 0, 3),
        last: formatNumber(language, points.at(-1)?.[1] ?? 0, 3),
      }),
    )
    .join("; ");
  return <Plot option={option} height={340} caption={caption} />;
}

const DASHES = ["solid", "dashed", "dotted"];

/** Colour and dash both tell the curves apart: there are more curves than colours. */
function toOption(curves: Named[], unit: string, palette: Palette) {
  const colours = seriesColours(palette, curves.length);
  const axis = {
    axisLine: { show: false },
    axisTick: { show: false },
    axisLabel: { color: palette.ink3, fontSize: 11 },
  };
  return {
    grid: { left: 8, right: 16, top: 36, bottom: 20, outerBoundsMode: "same" },
    textStyle: { fontFamily: "inherit" },
    legend: { top: 0, textStyle: { color: palette.ink, fontSize: 12 } },
    tooltip: {
      trigger: "axis",
      backgroundColor: palette.raised,
      borderColor: palette.line,
      textStyle: { color: palette.ink, fontSize: 12 },
    },
    xAxis: {
      type: "value",
      name: unit,
      nameLocation: "middle",
      max: "dataMax",
      splitLine: { show: false },
      ...axis,
    },
    yAxis: {
      type: "value",
      scale: true,
      splitNumber: 4,
      splitLine: { lineStyle: { color: palette.lineSoft } },
      ...axis,
    },
    series: curves.map(({ name, points }, at) => ({
      type: "line",
      name,
      data: points,
      animation: false,
      showSymbol: points.length === 1,
      lineStyle: { width: 2, color: colours[at], type: DASHES[Math.floor(at / 3) % DASHES.length] },
      itemStyle: { color: colours[at] },
    })),
  };
}
