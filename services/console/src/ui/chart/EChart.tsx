import type { EChartsCoreOption } from "echarts/core";
import { useEffect, useRef } from "react";
import { echarts } from "./echarts";

/** Draws `option`; a change of it moves the lines instead of drawing anew. */
export default function EChart({ option, height }: { option: EChartsCoreOption; height: number }) {
  const place = useRef<HTMLDivElement>(null);
  const chart = useRef<ReturnType<typeof echarts.init> | null>(null);

  useEffect(() => {
    if (!place.current) return;
    const made = echarts.init(place.current);
    chart.current = made;
    const watch = new ResizeObserver(() => made.resize());
    watch.observe(place.current);
    return () => {
      watch.disconnect();
      made.dispose();
    };
  }, []);
  useEffect(() => {
    chart.current?.setOption(option);
  }, [option]);

  return <div ref={place} style={{ height }} aria-hidden />;
}
