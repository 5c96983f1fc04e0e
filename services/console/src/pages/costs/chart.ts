import type { Palette } from "@/theme/palette";

/** Colours that are told apart side by side, the house's own first. */
export function colours(palette: Palette): string[] {
  return [palette.accent, palette.info, palette.wait, palette.ok, palette.bad, palette.ink3];
}

/** What the charts of this page have alike: a legend below, values at the left. */
export function frame(palette: Palette, formatter: (value: number) => string) {
  return {
    grid: { left: 8, right: 16, top: 16, bottom: 40, outerBoundsMode: "same" },
    textStyle: { fontFamily: "inherit", color: palette.ink },
    legend: {
      type: "scroll",
      bottom: 0,
      left: 0,
      itemWidth: 12,
      itemHeight: 8,
      itemGap: 24,
      textStyle: { color: palette.ink2, fontSize: 12 },
    },
    tooltip: {
      trigger: "axis",
      backgroundColor: palette.raised,
      borderColor: palette.line,
      textStyle: { color: palette.ink, fontSize: 12 },
      confine: true,
    },
    yAxis: {
      type: "value",
      splitNumber: 4,
      axisLabel: { color: palette.ink3, fontSize: 11, formatter },
      splitLine: { lineStyle: { color: palette.lineSoft } },
    },
  };
}
