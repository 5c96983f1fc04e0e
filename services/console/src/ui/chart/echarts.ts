import { LineChart, ScatterChart } from "echarts/charts";
import { GridComponent, TooltipComponent } from "echarts/components";
import * as echarts from "echarts/core";
import { SVGRenderer } from "echarts/renderers";

// Only what the console draws: the whole of ECharts is three times as large.
echarts.use([LineChart, ScatterChart, GridComponent, TooltipComponent, SVGRenderer]);

export { echarts };
