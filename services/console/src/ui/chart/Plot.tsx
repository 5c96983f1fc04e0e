import { Skeleton } from "antd";
import type { EChartsCoreOption } from "echarts/core";
import { lazy, Suspense } from "react";

const EChart = lazy(() => import("./EChart"));

/** A chart, and below it in words what it shows, for those who cannot see it. */
export function Plot({ option, height, caption }: { option: EChartsCoreOption; height: number; caption: string }) {
  return (
    <figure>
      <Suspense fallback={<Skeleton.Node active style={{ width: "100%", height }} />}>
        <EChart option={option} height={height} />
      </Suspense>
      <figcaption className="sr-only">{caption}</figcaption>
    </figure>
  );
}
