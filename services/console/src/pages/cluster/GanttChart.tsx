import { keepPreviousData, useQuery } from "@tanstack/react-query";
import { Segmented } from "antd";
import type { CustomSeriesRenderItem } from "echarts";
import { useMemo, useState } from "react";
import { get } from "@/api/client";
import { bare, lastPart } from "@/api/names";
import { queryKey } from "@/api/queries";
import type { Attempt, ListReply } from "@/api/types";
import { useI18n } from "@/i18n";
import { formatCost, formatNumber, formatTime } from "@/i18n/format";
import { useTheme } from "@/theme";
import type { Palette } from "@/theme/palette";
import { Plot } from "@/ui/chart/Plot";
import { Empty } from "@/ui/Empty";
import { Panel } from "@/ui/Page";
import { SkeletonRows } from "@/ui/ResourceTable";
import { Trouble } from "@/ui/Trouble";
import { ENDS, type End, endOf, layOut, ROWS, type Rows } from "./gantt";

const HOUR_MS = 3_600_000;
const HOURS = [1, 6, 24] as const;
type Hours = (typeof HOURS)[number];
/** Of the period, to the right of now. */
const MARGIN = 0.03;
const REFRESH = 15_000;
const PAGE_SIZE = 500;
/** Attempts; more bars than that nobody tells apart. */
const MOST = 2000;
const MOST_LANES = 120;
const LANE = 22;
const BAR = 14;

/** Who held which node and card, or what of which queue, and how that ended. */
export function GanttChart({ path }: { path: string }) {
  const { t } = useI18n();
  const [hours, setHours] = useState<Hours>(24);
  const [rows, setRows] = useState<Rows>("node");
  const attempts = useQuery({
    queryKey: queryKey(path, { hours }),
    queryFn: ({ signal }) => history(path, hours, signal),
    placeholderData: keepPreviousData,
    refetchInterval: REFRESH,
  });
  return (
    <Panel title={t("cluster.gantt")} extra={<Controls {...{ hours, setHours, rows, setRows }} />}>
      {attempts.isError ? (
        <Trouble error={attempts.error} retry={() => attempts.refetch()} />
      ) : attempts.isPending ? (
        <SkeletonRows columns={4} />
      ) : attempts.data.attempts.length === 0 ? (
        <Empty title={t("cluster.ganttEmpty")} hint={t("showback.emptyHint")} />
      ) : (
        <Bars {...attempts.data} rows={rows} />
      )}
    </Panel>
  );
}

interface History {
  /** Milliseconds. */
  from: number;
  now: number;
  attempts: Attempt[];
  total: number;
}

/** The newest attempts of the last `hours`, page after page up to `MOST`. */
async function history(path: string, hours: Hours, signal: AbortSignal): Promise<History> {
  const now = Date.now();
  const from = now - hours * HOUR_MS;
  const asked = { start_time: new Date(from).toISOString(), page_size: PAGE_SIZE };
  const attempts: Attempt[] = [];
  let total = 0;
  let page_token = "";
  do {
    const reply = await get<ListReply & { attempts: Attempt[] }>(path, { ...asked, page_token }, signal);
    attempts.push(...reply.attempts);
    total = Number(reply.total_size);
    page_token = reply.next_page_token;
  } while (page_token && attempts.length < MOST);
  return { from, now, attempts, total };
}

interface ControlsProps {
  hours: Hours;
  setHours: (hours: Hours) => void;
  rows: Rows;
  setRows: (rows: Rows) => void;
}

function Controls({ hours, setHours, rows, setRows }: ControlsProps) {
  const { t } = useI18n();
  return (
    <div className="row wrap">
      <Segmented<Rows>
        size="small"
        aria-label={t("cluster.rows")}
        value={rows}
        onChange={setRows}
        options={ROWS.map((value) => ({ value, label: t(`cluster.rows.${value}`) }))}
      />
      <Segmented<Hours>
        size="small"
        aria-label={t("cluster.span")}
        value={hours}
        onChange={setHours}
        options={HOURS.map((value) => ({ value, label: t("cluster.hours", { n: value }) }))}
      />
    </div>
  );
}

function Bars({ attempts, from, now, total, rows }: History & { rows: Rows }) {
  const { t, word, language } = useI18n();
  const { palette } = useTheme();
  const { lanes, bars } = useMemo(
    () => layOut(attempts, { from, now, mostLanes: MOST_LANES, rows }),
    [attempts, from, now, rows],
  );
  const colour = useMemo(() => coloursOf(palette), [palette]);
  const option = useMemo(() => {
    const tell = (one: Attempt) => {
      const end = one.end_time ? formatTime(language, one.end_time) : t("cluster.stillHeld");
      const lines = [
        `<b>${asText(word("kind", bare(one.kind)))} ${one.workload_number}</b> ${asText(one.display_name)}`,
        `${asText(lastPart(one.node))} · ${asText(lastPart(one.queue))}`,
        `${formatTime(language, one.admit_time ?? "")} ${t("cluster.until")} ${end}`,
        formatCost(language, Number(one.cost_microusd)),
        t(`cluster.end.${endOf(one)}`),
      ];
      if (one.preempted && one.end_reason) lines.push(word("rule", one.end_reason));
      else if (endOf(one) === "failed" && one.exit_code) lines.push(t("cluster.failed", { code: one.exit_code }));
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
      grid: { left: 8, right: 16, top: 24, bottom: 8, outerBoundsMode: "same" },
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
        min: from,
        max: now + (now - from) * MARGIN,
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
            itemStyle: { color: colour[endOf(bar.attempt)] },
          })),
          markLine: {
            silent: true,
            symbol: "none",
            animation: false,
            lineStyle: { color: palette.ink2, type: "dashed" },
            label: { position: "start", formatter: t("cluster.now"), color: palette.ink2, fontSize: 11 },
            data: [{ xAxis: now }],
          },
        },
      ],
    };
  }, [bars, lanes, from, now, colour, palette, language, t, word]);
  const shown = new Set(bars.map((bar) => bar.attempt.name)).size;
  return (
    <>
      <ul className="row wrap map-legend" aria-label={t("cluster.legend")}>
        {ENDS.map((end) => (
          <li key={end} className="row">
            <i className="tile" style={{ background: colour[end], borderColor: colour[end] }} aria-hidden />
            <span className="quiet">{t(`cluster.end.${end}`)}</span>
          </li>
        ))}
      </ul>
      <div translate="no">
        <Plot
          key={rows}
          option={option}
          height={lanes.length * LANE + 64}
          caption={t("cluster.ganttCaption", { n: shown, lanes: lanes.length })}
        />
      </div>
      <p className="quiet">{t("cluster.zone", { zone: zoneName() })}</p>
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

function coloursOf(palette: Palette): Record<End, string> {
  return {
    running: palette.accent,
    finished: palette.ok,
    preempted: palette.wait,
    failed: palette.bad,
    lost: palette.ink3,
  };
}

/** Of the browser, in which all times stand. */
function zoneName(): string {
  return Intl.DateTimeFormat().resolvedOptions().timeZone;
}

/** Tooltips are HTML, and names are what people wrote. */
function asText(text: string): string {
  return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
}
