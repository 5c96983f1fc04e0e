import { Segmented, Select, Skeleton, Table } from "antd";
import { useMemo, useState } from "react";
import { lastPart, shortName } from "@/api/names";
import { useList, useProject } from "@/api/queries";
import type { Evaluation, Suite } from "@/api/types";
import { useI18n } from "@/i18n";
import { formatMs, formatNumber } from "@/i18n/format";
import { useTheme } from "@/theme";
import { seriesColours } from "@/theme/palette";
import { Empty } from "@/ui/Empty";
import { Ref } from "@/ui/Id";
import { IntervalChart } from "@/ui/interval/IntervalChart";
import { Panel } from "@/ui/Page";
import { Trouble } from "@/ui/Trouble";
import { byVariant, type Measured, metricsOf, suitesOf, toRows, usualChoice } from "./compare";

const MOST = 4;

/** Variants side by side, with intervals: what the laps have brought. */
export function Comparison() {
  const { t, word } = useI18n();
  const project = useProject();
  const suiteName = useSuiteNames();
  const [suite, setSuite] = useState("");
  const [metric, setMetric] = useState("exact");
  const [chosen, setChosen] = useState<string[]>([]);
  const done = useList<"evaluations", Evaluation>(`/projects/${project}/evaluations`, {
    filter: "state=SUCCEEDED",
    page_size: 200,
  });
  const candidates = useMemo(() => byVariant(done.data?.evaluations ?? []), [done.data]);
  if (done.isError) return <Trouble error={done.error} retry={() => done.refetch()} />;
  if (done.isPending || !candidates.length) {
    return (
      <Panel>
        {done.isPending ? (
          <Skeleton active />
        ) : (
          <Empty title={t("evaluations.nothingToCompare")} hint={t("evaluations.nothingToCompareHint")} />
        )}
      </Panel>
    );
  }
  const wanted = candidates.filter((one) => chosen.includes(one.variant));
  const compared = wanted.length ? wanted : usualChoice(candidates);
  const suites = suitesOf(candidates);
  const shownSuites = suite ? [suite] : suites;
  const metrics = metricsOf(compared);
  const shownMetric = metrics.includes(metric) ? metric : (metrics[0] ?? "");
  return (
    <section className="panel">
      <div className="table-tools">
        <Select
          aria-label={t("evaluations.variants")}
          mode="multiple"
          maxCount={MOST}
          maxTagCount={0}
          maxTagPlaceholder={t("evaluations.chosen", { n: compared.length })}
          style={{ minWidth: 150 }}
          value={compared.map((one) => one.variant)}
          onChange={setChosen}
          options={candidates.map((one) => ({ value: one.variant, label: shortName(one.variant) }))}
          popupMatchSelectWidth={false}
        />
        {suites.length > 1 && (
          <Select
            aria-label={t("evaluations.suite")}
            value={suite}
            onChange={setSuite}
            options={[
              { value: "", label: t("evaluations.allSuites") },
              ...suites.map((name) => ({ value: name, label: suiteName(name) })),
            ]}
            style={{ minWidth: 150 }}
            popupMatchSelectWidth={false}
          />
        )}
        <span className="grow" />
        {metrics.length > 1 && (
          <Segmented
            aria-label={t("verdicts.metric")}
            value={shownMetric}
            onChange={setMetric}
            options={metrics.map((one) => ({ value: one, label: word("metric", one) }))}
          />
        )}
      </div>
      <div className="panel-body">
        <Compared measured={compared} suites={shownSuites} metric={shownMetric} />
      </div>
      <Speeds evaluations={compared.flatMap((one) => one.evaluations.filter((of) => shownSuites.includes(of.suite)))} />
    </section>
  );
}

/** Suites by what people call them. */
export function useSuiteNames(): (suite: string) => string {
  const project = useProject();
  const suites = useList<"suites", Suite>(`/projects/${project}/suites`, { page_size: 200 }).data?.suites ?? [];
  return (name) => suites.find((one) => one.name === name)?.display_name || lastPart(name);
}

interface Props {
  measured: Measured[];
  suites: string[];
  metric: string;
}

export function Compared({ measured, suites, metric }: Props) {
  const { t } = useI18n();
  const { palette } = useTheme();
  const suiteName = useSuiteNames();
  const colours = seriesColours(palette, measured.length);
  const rows = toRows(measured, { suites, metric, colours, label: (suite, slice) => slice || suiteName(suite) });
  return (
    <div className="stack">
      <ul className="legend">
        {measured.map((one, index) => (
          <li key={one.variant}>
            <i style={{ background: colours[index] }} aria-hidden />
            {shortName(one.variant)}
          </li>
        ))}
      </ul>
      <IntervalChart rows={rows} />
      <p className="quiet">{t("evaluations.intervals")}</p>
    </div>
  );
}

function Speeds({ evaluations }: { evaluations: Evaluation[] }) {
  const { t, language } = useI18n();
  const suiteName = useSuiteNames();
  return (
    <Table<Evaluation>
      size="small"
      rowKey="name"
      dataSource={evaluations}
      pagination={false}
      scroll={{ x: "max-content" }}
      columns={[
        { title: t("models.variant"), render: (_, one) => <Ref name={one.variant} /> },
        { title: t("evaluations.suite"), render: (_, one) => suiteName(one.suite) },
        {
          title: t("column.rows"),
          align: "right",
          render: (_, one) => <span className="num">{formatNumber(language, one.row_count)}</span>,
        },
        {
          title: t("evaluations.p50"),
          align: "right",
          render: (_, one) => <span className="num">{formatMs(language, one.latency_p50_ms)}</span>,
        },
        {
          title: t("evaluations.p95"),
          align: "right",
          render: (_, one) => <span className="num">{formatMs(language, one.latency_p95_ms)}</span>,
        },
        {
          title: t("evaluations.speed"),
          align: "right",
          render: (_, one) => <span className="num">{formatNumber(language, one.tokens_per_second, 1)}</span>,
        },
      ]}
    />
  );
}
