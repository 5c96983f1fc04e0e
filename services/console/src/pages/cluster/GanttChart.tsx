import { useQuery } from "@tanstack/react-query";
import type { CustomSeriesRenderItem } from "echarts";
import { useMemo } from "react";
import { get } from "@/api/client";
import { bare, lastPart } from "@/api/names";
import { queryKey } from "@/api/queries";
import type { Attempt, ListReply } from "@/api/types";
import { useI18n } from "@/i18n";
import { formatCost, formatNumber, formatTime } from "@/i18n/format";
import { useTheme } from "@/theme";
import { Plot } from "@/ui/chart/Plot";
import { Empty } from "@/ui/Empty";
import { Panel } from "@/ui/Page";
import { SkeletonRows } from "@/ui/ResourceTable";
import { Trouble } from "@/ui/Trouble";
import { type Bar, layOut } from "./gantt";

const DAY_MS = 86_400_000;
const REFRESH = 15_000;
const PAGE_SIZE = 500;
const MOST_LANES = 120;
const LANE = 22;
const BAR = 14;

/** Who held which node and card in the last day. */
export function GanttChart({ path }: { path: string }) {
  const { t } = useI18n();
  const attempts = useQuery({
    queryKey: queryKey(path, { of: "the last day" }),
    queryFn: async ({ signal }) => {
      const now = Date.now();
      const asked = { start_time: new Date(now - DAY_MS).toISOString(), page_size: PAGE_SIZE };
      return { now, reply: await get<ListReply & { attempts: Attempt[] }>(path, asked, signal) };
    },
    refetchInterval: REFRESH,
  });
  return (
    <Panel title={t("cluster.gantt")}>
      {attempts.isError ? (
        <Trouble error={attempts.error} retry={() => attempts.refetch()} />
      ) : attempts.isPending ? (
        <SkeletonRows columns={4} />
      ) : attempts.data.reply.attempts.length === 0 ? (
        <Empty title={t("cluster.ganttEmpty")} hint={t("showback.emptyHint")} />
      ) : (
        <Bars
          attempts={attempts.data.reply.attempts}
          now={attempts.data.now}
          total={Number(attempts.data.reply.total_size)}
        />
      )}
    </Panel>
  );
}

function Bars({ attempts, now, total }: { attempts: Attempt[]; now: number; total: number }) {
  const { t, word, language } = useI18n();
  const { palette } = useTheme();
  const { lanes, bars } = useMemo(() => layOut(attempts, now - DAY_MS, now, MOST_LANES), [attempts, now]);
  const option = useMemo(() => {
    const colour: Record<string, string> = { TRAINER: palette.accent, REPLICA: palette.info, JOB: palette.wait };
    const tell = (one: Attempt) => {
      const end = one.end_time ? formatTime(language, one.end_time) : t("cluster.stillHeld");
      const lines = [
        `<b>${asText(word("kind", bare(one.kind)))} ${one.workload_number}</b> ${asText(one.display_name)}`,
        `${asText(lastPart(one.node))} · ${asText(lastPart(one.queue))}`,
        `${formatTime(language, one.admit_time ?? "")} ${t("cluster.until")} ${end}`,
        formatCost(language, Number(one.cost_microusd)),
      ];
      if (one.preempted) lines.push(t("cluster.preempted"));
      else if (one.exit_code) lines.push(t("cluster.failed", { code: one.exit_code }));
      return lines.join("<br>");
    };
    const draw: CustomSeriesRenderItem = (_, api) => {
      const [left = 0, y = 0] = api.coord([api.value(1), api.value(0)]);
      const [right = 0] = api.coord([api.value(2), api.value(0)]);
      return {
        type: "rect",
        shape: { x: left, y: y - BAR / 2, width: Math.max(right - left, 2), height: BAR, r: 2 },
        style: { fill: String(api.visual("color")) },
      };
    };
    return {
      grid: { left: 8, right: 16, top: 8, bottom: 8, outerBoundsMode: "same" },
      textStyle: { fontFamily: "inherit", color: palette.ink },
      tooltip: {
        backgroundColor: palette.raised,
        borderColor: palette.line,
        textStyle: { color: palette.ink, fontSize: 12 },
        confine: true,
        formatter: (item: { dataIndex: number }) => {
          const bar = bars[item.dataIndex];
          return bar ? tell(bar.attempt) : "";
        },
      },
      xAxis: {
        type: "time",
        min: now - DAY_MS,
        max: now,
        axisLine: { lineStyle: { color: palette.line } },
        axisLabel: { color: palette.ink3, fontSize: 11, hideOverlap: true },
        splitLine: { show: true, lineStyle: { color: palette.lineSoft } },
      },
      yAxis: {
        type: "category",
        data: lanes.map((lane, at) => ({ value: `${at} ${lane}` })),
        inverse: true,
        axisTick: { show: false },
        axisLine: { show: false },
        axisLabel: {
          color: palette.ink2,
          fontSize: 11,
          interval: 0,
          formatter: (value: string) => value.slice(value.indexOf(" ") + 1),
        },
      },
      series: [
        {
          type: "custom",
          renderItem: draw,
          animation: false,
          encode: { x: [1, 2], y: 0 },
          data: bars.map((bar) => ({
            value: [bar.lane, bar.begin, bar.end],
            itemStyle: { color: failed(bar) ? palette.bad : (colour[bare(bar.attempt.kind)] ?? palette.ink3) },
          })),
        },
      ],
    };
  }, [bars, lanes, now, palette, language, t, word]);
  const shown = new Set(bars.map((bar) => bar.attempt.name)).size;
  return (
    <>
      <div translate="no">
        <Plot
          option={option}
          height={lanes.length * LANE + 48}
          caption={t("cluster.ganttCaption", { n: shown, lanes: lanes.length })}
        />
      </div>
      {shown < total && (
        <p className="quiet">
          {t("cluster.ganttCut", {
            shown: formatNumber(language, shown),
            total: formatNumber(language, total),
            lanes: lanes.length,
          })}
        </p>
      )}
    </>
  );
}

function failed({ attempt }: Bar): boolean {
  return Boolean(attempt.exit_code) && !attempt.preempted;
}

/** Tooltips are HTML, and names are what people wrote. */
function asText(text: string): string {
  return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
}
