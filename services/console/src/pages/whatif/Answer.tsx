import { Table } from "antd";
import { useMemo } from "react";
import type { SimulationReport, WhatIfReport } from "@/api/types";
import { type Language, type PlainKey, useI18n } from "@/i18n";
import { formatCost, formatDuration, formatNumber, formatPercent, formatTime } from "@/i18n/format";
import { frame } from "@/pages/costs/chart";
import { useTheme } from "@/theme";
import { Plot } from "@/ui/chart/Plot";
import { type Compared, changeOf, FIGURES, figureOf, isBetter, stepOf, TIMES } from "./figures";

const HEIGHT = 260;
const NOTHING: SimulationReport = {
  job_count: 0,
  ended_count: 0,
  refused_count: 0,
  preemption_count: 0,
  node_count: 0,
  hour_microusd: "0",
};

/** Both replays side by side, in figures and as bars. */
export function Answer({ report }: { report: WhatIfReport }) {
  const { t, language } = useI18n();
  const [before, after] = [report.before ?? NOTHING, report.after ?? NOTHING];
  const asked = {
    n: before.job_count,
    start: formatTime(language, report.start_time ?? ""),
    end: formatTime(language, report.end_time ?? ""),
  };
  return (
    <div className="stack">
      <p>
        <span className="chip wait">{t("whatif.simulated")}</span> {t("whatif.about", asked)} {t("whatif.byPolicy")}{" "}
        <span translate="no">{report.policy}</span>{" "}
        {Number(report.added_hour_microusd) > 0 &&
          t("whatif.price", { cost: formatCost(language, Number(report.added_hour_microusd)) })}{" "}
        {Number(report.removed_hour_microusd) > 0 &&
          t("whatif.saved", { cost: formatCost(language, Number(report.removed_hour_microusd)) })}
      </p>
      <Bars before={before} after={after} />
      <Figures before={before} after={after} />
      <p className="quiet">
        {report.truncated_count > 0 && t("whatif.truncated", { n: report.truncated_count })}{" "}
        {report.left_out_count > 0 && t("whatif.leftOut", { n: report.left_out_count })} {t("whatif.caution")}
      </p>
    </div>
  );
}

interface Both {
  before: SimulationReport;
  after: SimulationReport;
}

function Figures({ before, after }: Both) {
  const { t, language } = useI18n();
  return (
    <Table<Compared>
      size="small"
      pagination={false}
      rowKey="field"
      dataSource={[...FIGURES]}
      columns={[
        { key: "what", title: t("whatif.figure"), render: (_, row) => t(titleOf(row)) },
        { key: "before", title: t("whatif.before"), align: "right", render: (_, row) => shown(language, row, before) },
        { key: "after", title: t("whatif.after"), align: "right", render: (_, row) => shown(language, row, after) },
        {
          key: "change",
          title: t("whatif.change"),
          align: "right",
          render: (_, row) => <Change row={row} before={before} after={after} />,
        },
      ]}
    />
  );
}

function Change({ row, before, after }: Both & { row: Compared }) {
  const { t, language } = useI18n();
  const change = changeOf(figureOf(before, row.field), figureOf(after, row.field));
  if (change === null) return <span className="quiet">–</span>;
  const better = isBetter(row, before, after);
  const text = `${change > 0 ? "+" : ""}${formatPercent(language, change)}`;
  if (better === null) return <span className="num">{text}</span>;
  return (
    <span className={better ? "num whatif-better" : "num whatif-worse"}>
      {text} <span className="sr-only">({t(better ? "whatif.better" : "whatif.worse")})</span>
    </span>
  );
}

function Bars({ before, after }: Both) {
  const { t, language } = useI18n();
  const { palette } = useTheme();
  const option = useMemo(() => {
    const show = (value: number) => formatDuration(language, value);
    const look = frame(palette, show);
    const bars = (name: string, color: string, of: SimulationReport) => ({
      type: "bar",
      name,
      animation: false,
      barMaxWidth: 32,
      itemStyle: { color },
      data: TIMES.map((one) => figureOf(of, one.field)),
    });
    const most = Math.max(...[before, after].flatMap((of) => TIMES.map((one) => figureOf(of, one.field) ?? 0)));
    const step = stepOf(most);
    return {
      ...look,
      yAxis: { ...look.yAxis, interval: step, max: step * Math.max(1, Math.ceil(most / step)) },
      tooltip: {
        ...look.tooltip,
        valueFormatter: (value: unknown) => (typeof value === "number" ? show(value) : "–"),
      },
      xAxis: {
        type: "category",
        data: TIMES.map((one) => t(titleOf(one))),
        axisTick: { show: false },
        axisLine: { lineStyle: { color: palette.line } },
        axisLabel: { color: palette.ink3, fontSize: 11 },
      },
      series: [bars(t("whatif.before"), palette.ink3, before), bars(t("whatif.after"), palette.accent, after)],
    };
  }, [before, after, language, palette, t]);
  return <Plot option={option} height={HEIGHT} caption={t("whatif.caption")} />;
}

function titleOf(row: Compared): PlainKey {
  return `whatif.of.${row.field}`;
}

function shown(language: Language, { field, unit }: Compared, report: SimulationReport) {
  const value = figureOf(report, field);
  if (value === null) return <span className="quiet">–</span>;
  const write = { time: formatDuration, share: formatPercent, number: formatNumber, money: formatCost }[unit];
  return <span className="num nowrap">{write(language, value)}</span>;
}
