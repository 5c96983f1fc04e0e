import { useQueries } from "@tanstack/react-query";
import { Segmented, Select } from "antd";
import { useState } from "react";
import { Link, useSearchParams } from "react-router";
import { get } from "@/api/client";
import { bare, lastPart } from "@/api/names";
import { queryKey, useList, useProject } from "@/api/queries";
import type { MetricPoint, Run } from "@/api/types";
import { useI18n } from "@/i18n";
import { durationSeconds, formatDuration, formatNumber } from "@/i18n/format";
import { Empty } from "@/ui/Empty";
import { Page, Panel } from "@/ui/Page";
import { isOpen, State } from "@/ui/State";
import { Trouble } from "@/ui/Trouble";
import { useTitles } from "@/ui/useTitles";
import { Bytes, Cost } from "@/ui/values";
import { type Axis, metricNames, seriesOf } from "./curves";
import { Overlay } from "./Overlay";
import { flat, useSettingNames } from "./settings";
import "./compare.css";

const POLL = 5000;
const MOST_RUNS = 8;

/** Two runs or more over one another; which ones, is in the address. */
export function CompareRuns() {
  const { t, word } = useI18n();
  const titles = useTitles();
  const project = useProject();
  const [address, setAddress] = useSearchParams();
  const [chosen, setChosen] = useState("");
  const [over, setOver] = useState<Axis>("step");
  const ids = address.getAll("run");
  const all = useList<"runs", Run>(`/projects/${project}/runs`, { page_size: 200 });
  const compared = useRuns(project, ids);
  const names = metricNames(compared.points.flat());
  const name = names.includes(chosen) ? chosen : (names[0] ?? "");
  const curves = compared.runs.map((run, at) => ({
    name: `#${run.number} ${titles.run(run)}`,
    points: seriesOf(compared.points[at] ?? [], name, over),
  }));
  return (
    <Page
      title={t("compareRuns.title")}
      lead={t("compareRuns.lead")}
      back={{ text: t("runs.title"), to: `/p/${project}/runs` }}
    >
      <Select
        mode="multiple"
        aria-label={t("compareRuns.pick")}
        placeholder={t("compareRuns.pick")}
        value={ids}
        maxCount={MOST_RUNS}
        onChange={(next) =>
          setAddress(
            next.map((id): [string, string] => ["run", id]),
            { replace: true },
          )
        }
        optionFilterProp="label"
        options={(all.data?.runs ?? []).map((run) => ({
          value: lastPart(run.name),
          label: `#${run.number} ${titles.run(run)}`,
        }))}
        style={{ width: "100%" }}
      />
      {compared.error && <Trouble error={compared.error} />}
      <Panel
        title={name ? word("curve", name) : t("run.curve")}
        extra={
          <Segmented
            aria-label={t("compareRuns.over")}
            size="small"
            value={over}
            onChange={(next) => setOver(next as Axis)}
            options={[
              { value: "step", label: t("compareRuns.bySteps") },
              { value: "time", label: t("compareRuns.byTime") },
            ]}
          />
        }
      >
        {names.length > 1 && (
          <Select
            aria-label={t("run.curve")}
            size="small"
            value={name}
            onChange={setChosen}
            options={names.map((one) => ({ value: one, label: word("curve", one) }))}
            style={{ minWidth: 220, marginBottom: 12 }}
          />
        )}
        {curves.some((curve) => curve.points.length) ? (
          <Overlay curves={curves} over={over} />
        ) : (
          <Empty title={t("compareRuns.none")} hint={t("compareRuns.noneHint")} />
        )}
      </Panel>
      {compared.runs.length > 0 && <Differences runs={compared.runs} />}
    </Page>
  );
}

function useRuns(project: string, ids: string[]) {
  const paths = ids.map((id) => `/projects/${project}/runs/${id}`);
  const runs = useQueries({
    queries: paths.map((path) => ({
      queryKey: queryKey(path),
      queryFn: () => get<Run>(path),
      refetchInterval: POLL,
    })),
  });
  const points = useQueries({
    queries: paths.map((path, at) => ({
      queryKey: queryKey(`${path}/metrics`, { page_size: 5000 }),
      queryFn: () => get<{ points: MetricPoint[] }>(`${path}/metrics`, { page_size: 5000 }),
      refetchInterval: isOpen(runs[at]?.data?.state ?? "") && POLL,
    })),
  });
  const there = runs.flatMap((run, at) =>
    run.data ? [{ run: run.data, points: points[at]?.data?.points ?? [] }] : [],
  );
  return {
    runs: there.map((one) => one.run),
    points: there.map((one) => one.points),
    error: [...runs, ...points].find((one) => one.isError)?.error,
  };
}

/** State, speed and cost of each, and the settings in which they differ. */
function Differences({ runs }: { runs: Run[] }) {
  const { t, word, language } = useI18n();
  const project = useProject();
  const title = useSettingNames();
  const settings = runs.map((run) => flat(run.spec?.hyperparameters));
  const differing = [...new Set(settings.flatMap(Object.keys))].filter(
    (name) => new Set(settings.map((one) => String(one[name] ?? ""))).size > 1,
  );
  const number = (value?: number | null, digits = 4) => (value == null ? "–" : formatNumber(language, value, digits));
  const rows: [string, (run: Run, at: number) => React.ReactNode][] = [
    [t("column.status"), (run) => <State value={run.state} why={run.failure_reason || run.waiting_reason} />],
    [t("runs.method"), (run) => run.spec && word("method", bare(run.spec.method))],
    [t("run.step"), (run) => `${number(run.step)} / ${number(run.total_steps)}`],
    [t("run.loss"), (run) => number(run.loss)],
    [t("curve.tokens_per_second"), (run) => number(run.metrics.tokens_per_second, 0)],
    [t("curve.memory_bytes"), (run) => <Bytes value={run.metrics.memory_bytes ?? 0} />],
    [
      t("run.remaining"),
      (run) => {
        const seconds = durationSeconds(run.eta);
        return seconds === undefined ? "–" : formatDuration(language, seconds);
      },
    ],
    [t("column.cost"), (run) => <Cost microusd={run.cost_microusd} />],
    ...differing.map((name): [string, (run: Run, at: number) => React.ReactNode] => [
      title(name),
      (_, at) => String(settings[at]?.[name] ?? "–"),
    ]),
  ];
  return (
    <Panel title={t("compareRuns.differences")}>
      <table className="run-differences">
        <thead>
          <tr>
            <th />
            {runs.map((run) => (
              <th key={run.name} scope="col">
                <Link to={`/p/${project}/runs/${lastPart(run.name)}`}>#{run.number}</Link>
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {rows.map(([label, cell]) => (
            <tr key={label}>
              <th scope="row">{label}</th>
              {runs.map((run, at) => (
                <td key={run.name} className="num">
                  {cell(run, at)}
                </td>
              ))}
            </tr>
          ))}
        </tbody>
      </table>
    </Panel>
  );
}
