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
import { metricsOf, newestOfEach, toRows, usualChoice } from "./compare";

const MOST = 4;

/** Variants side by side on one suite, with intervals: what the laps have brought. */
export function Comparison() {
  const { t, word } = useI18n();
  const project = useProject();
  const [suite, setSuite] = useState("");
  const [metric, setMetric] = useState("exact");
  const [chosen, setChosen] = useState<string[]>([]);
  const suites = useList<"suites", Suite>(`/projects/${project}/suites`, { page_size: 100 });
  const done = useList<"evaluations", Evaluation>(`/projects/${project}/evaluations`, {
    filter: "state=SUCCEEDED",
    page_size: 200,
  });
  const measured = useMemo(() => done.data?.evaluations ?? [], [done.data]);
  const shownSuite = suite || measured[0]?.suite || "";
  const candidates = useMemo(
    () => newestOfEach(measured.filter((one) => one.suite === shownSuite)),
    [measured, shownSuite],
  );
  const wanted = candidates.filter((one) => chosen.includes(one.variant));
  const compared = wanted.length ? wanted : usualChoice(candidates);
  const metrics = metricsOf(compared);
  const shownMetric = metrics.includes(metric) ? metric : (metrics[0] ?? "");

  if (done.isPending || suites.isPending)
    return (
      <Panel title={t("evaluations.comparison")}>
        <Skeleton active />
      </Panel>
    );
  if (done.isError) return <Trouble error={done.error} retry={() => done.refetch()} />;
  if (!measured.length) {
    return (
      <Panel title={t("evaluations.comparison")}>
        <Empty title={t("evaluations.nothingToCompare")} hint={t("evaluations.nothingToCompareHint")} />
      </Panel>
    );
  }
  const suiteName = (name: string) =>
    suites.data?.suites.find((one) => one.name === name)?.display_name || lastPart(name);
  const used = [...new Set(measured.map((one) => one.suite))];
  return (
    <Panel
      title={t("evaluations.comparison")}
      extra={
        <>
          <Select
            size="small"
            aria-label={t("evaluations.suite")}
            value={shownSuite}
            onChange={(next) => {
              setSuite(next);
              setChosen([]);
            }}
            options={used.map((name) => ({ value: name, label: suiteName(name) }))}
            popupMatchSelectWidth={false}
          />
          <Select
            size="small"
            mode="multiple"
            maxCount={MOST}
            maxTagCount={0}
            maxTagPlaceholder={t("evaluations.chosen", { n: compared.length })}
            style={{ minWidth: 130 }}
            aria-label={t("evaluations.variants")}
            value={compared.map((one) => one.variant)}
            onChange={setChosen}
            options={candidates.map((one) => ({ value: one.variant, label: shortName(one.variant) }))}
            popupMatchSelectWidth={false}
          />
          {metrics.length > 1 && (
            <Segmented
              size="small"
              value={shownMetric}
              onChange={setMetric}
              options={metrics.map((one) => ({ value: one, label: word("metric", one) }))}
            />
          )}
        </>
      }
    >
      <Compared evaluations={compared} metric={shownMetric} />
    </Panel>
  );
}

export function Compared({ evaluations, metric }: { evaluations: Evaluation[]; metric: string }) {
  const { t, language } = useI18n();
  const { palette } = useTheme();
  const colours = seriesColours(palette, evaluations.length);
  const rows = toRows(evaluations, metric, colours, t("evaluations.allRows"));
  const number = (value: number, digits = 0) => formatNumber(language, value, digits);
  return (
    <div className="stack">
      <ul className="legend">
        {evaluations.map((one, index) => (
          <li key={one.name}>
            <i style={{ background: colours[index] }} aria-hidden />
            {shortName(one.variant)}
          </li>
        ))}
      </ul>
      <IntervalChart rows={rows} />
      <p className="quiet">{t("evaluations.intervals")}</p>
      <Table<Evaluation>
        size="small"
        rowKey="name"
        dataSource={evaluations}
        pagination={false}
        scroll={{ x: "max-content" }}
        columns={[
          { title: t("models.variant"), render: (_, one) => <Ref name={one.variant} /> },
          {
            title: t("column.rows"),
            align: "right",
            render: (_, one) => <span className="num">{number(one.row_count)}</span>,
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
            render: (_, one) => <span className="num">{number(one.tokens_per_second, 1)}</span>,
          },
        ]}
      />
    </div>
  );
}
