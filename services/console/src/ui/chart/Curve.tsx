import { Skeleton } from "antd";
import { lazy, Suspense, useMemo } from "react";
import { useI18n } from "@/i18n";
import { formatNumber } from "@/i18n/format";
import { useTheme } from "@/theme";
import type { Palette } from "@/theme/palette";

const EChart = lazy(() => import("./EChart"));

export type XY = [x: number, y: number];

interface Props {
  name: string;
  points: XY[];
  /** Where the horizontal axis ends; known before the last point is. */
  until?: number;
  height?: number;
}

/** One value over the steps: what was measured, faint, and its trend. */
export function Curve({ name, points, until, height = 280 }: Props) {
  const { t, language } = useI18n();
  const { palette } = useTheme();
  const option = useMemo(
    () => toOption(name, t("chart.step"), points, until, palette),
    [name, t, points, until, palette],
  );
  const first = points[0]?.[1];
  const last = points.at(-1)?.[1];
  const caption =
    first === undefined || last === undefined
      ? name
      : t("chart.summary", {
          name,
          first: formatNumber(language, first, 3),
          last: formatNumber(language, last, 3),
          n: points.length,
        });
  return (
    <figure>
      <Suspense fallback={<Skeleton.Node active style={{ width: "100%", height }} />}>
        <EChart option={option} height={height} />
      </Suspense>
      <figcaption className="sr-only">{caption}</figcaption>
    </figure>
  );
}

/** Fewer points than this show no trend that is not a lag. */
const FEW = 25;
/** Weight of the past in the trend: about the last dozen points count. */
const MEMORY = 0.85;

/** Exponential mean that is not dragged to its first value (Kingma & Ba 2015, bias correction). */
export function trend(points: readonly XY[]): XY[] {
  let mean = 0;
  let weight = 0;
  return points.map(([x, y]) => {
    mean = mean * MEMORY + y * (1 - MEMORY);
    weight = weight * MEMORY + (1 - MEMORY);
    return [x, mean / weight];
  });
}

function toOption(name: string, step: string, points: XY[], until: number | undefined, palette: Palette) {
  const axis = {
    axisLine: { show: false },
    axisTick: { show: false },
    axisLabel: { color: palette.ink3, fontSize: 11 },
  };
  const plain = {
    type: "line",
    data: points,
    animation: false,
    showSymbol: points.length === 1,
    lineStyle: { width: 2, color: palette.accent },
    itemStyle: { color: palette.accent },
  };
  const faint = { width: 1, color: palette.accent, opacity: 0.35 };
  return {
    grid: { left: 8, right: 16, top: 16, bottom: 4, outerBoundsMode: "same" },
    textStyle: { fontFamily: "inherit" },
    tooltip: {
      trigger: "axis",
      backgroundColor: palette.raised,
      borderColor: palette.line,
      textStyle: { color: palette.ink, fontSize: 12 },
      axisPointer: { lineStyle: { color: palette.ink3, type: "dashed" } },
      formatter: (items: { value: XY; seriesIndex: number }[]) => {
        const at = items[0]?.value;
        return at ? `${step} ${at[0]}<br>${name} <b>${Number(at[1].toPrecision(4))}</b>` : "";
      },
    },
    xAxis: { type: "value", min: 0, max: until || "dataMax", splitLine: { show: false }, ...axis },
    yAxis: {
      type: "value",
      scale: true,
      splitNumber: 4,
      splitLine: { lineStyle: { color: palette.lineSoft } },
      ...axis,
    },
    series:
      points.length < FEW
        ? [plain]
        : [
            { ...plain, lineStyle: faint },
            { ...plain, data: trend(points), silent: true },
          ],
  };
}
