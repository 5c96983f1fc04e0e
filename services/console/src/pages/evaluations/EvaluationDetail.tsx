import { StopOutlined } from "@ant-design/icons";
import { Button, Segmented } from "antd";
import { useState } from "react";
import { useParams } from "react-router";
import { post } from "@/api/client";
import { lastPart } from "@/api/names";
import { useChange, useGet, useMay, useProject } from "@/api/queries";
import type { Evaluation, Result } from "@/api/types";
import { PageSkeleton } from "@/app/PageSkeleton";
import { useI18n } from "@/i18n";
import { formatMs, formatNumber } from "@/i18n/format";
import { Actor } from "@/ui/Actor";
import { Content } from "@/ui/Conversation";
import { Empty } from "@/ui/Empty";
import { Digest, Ref } from "@/ui/Id";
import { Facts, Page, Panel } from "@/ui/Page";
import { ResourceTable } from "@/ui/ResourceTable";
import { isOpen, State } from "@/ui/State";
import { Failure, Trouble } from "@/ui/Trouble";
import { useAskToRemove } from "@/ui/useConfirm";
import { useTitles } from "@/ui/useTitles";
import { Cost, Num, Time } from "@/ui/values";
import { Compared } from "./Comparison";
import { metricsOf } from "./compare";

export function EvaluationDetail() {
  const titles = useTitles();
  const { t, word } = useI18n();
  const project = useProject();
  const { id = "" } = useParams();
  const path = `/projects/${project}/evaluations/${id}`;
  const evaluation = useGet<Evaluation>(path, {}, { refetchInterval: 4000 });
  const [metric, setMetric] = useState("exact");
  const back = { text: t("evaluations.title"), to: `/p/${project}/evaluations` };
  if (evaluation.isPending) return <PageSkeleton />;
  if (evaluation.isError) {
    return (
      <Page title={id} back={back}>
        <Trouble error={evaluation.error} retry={() => evaluation.refetch()} />
      </Page>
    );
  }
  const { data } = evaluation;
  const measured = [{ variant: data.variant, evaluations: [data] }];
  const metrics = metricsOf(measured);
  return (
    <Page
      title={titles.evaluation(data)}
      back={back}
      lead={<State value={data.state} why={data.failure_reason || data.waiting_reason} />}
      actions={<Stop evaluation={data} />}
    >
      <Failure reason={data.failure_reason} message={data.failure_message} />
      <div className="columns">
        <div className="stack">
          {data.scores.length > 0 && (
            <Panel
              title={t("evaluations.scores")}
              extra={
                metrics.length > 1 && (
                  <Segmented
                    aria-label={t("verdicts.metric")}
                    size="small"
                    value={metric}
                    onChange={setMetric}
                    options={metrics.map((one) => ({ value: one, label: word("metric", one) }))}
                  />
                )
              }
            >
              <Compared
                measured={measured}
                suites={[data.suite]}
                metric={metrics.includes(metric) ? metric : (metrics[0] ?? "")}
              />
            </Panel>
          )}
          {data.state === "STATE_SUCCEEDED" ? (
            <Results path={`${path}/results`} />
          ) : (
            isOpen(data.state) && <Panel>{t("evaluations.running")}</Panel>
          )}
        </div>
        <About evaluation={data} />
      </div>
    </Page>
  );
}

function About({ evaluation }: { evaluation: Evaluation }) {
  const { t, language } = useI18n();
  return (
    <Panel title={t("evaluations.about")}>
      <Facts
        list
        rows={[
          [t("models.variant"), <Ref name={evaluation.variant} />],
          [t("evaluations.suite"), lastPart(evaluation.suite)],
          evaluation.pipeline !== "" && [t("run.pipeline"), <Ref name={evaluation.pipeline} />],
          [t("column.rows"), <Num value={evaluation.row_count || null} />],
          [t("evaluations.p50"), formatMs(language, evaluation.latency_p50_ms)],
          [t("evaluations.p95"), formatMs(language, evaluation.latency_p95_ms)],
          [t("evaluations.speed"), formatNumber(language, evaluation.tokens_per_second, 1)],
          [t("column.cost"), <Cost microusd={evaluation.cost_microusd} />],
          [t("column.digest"), <Digest value={evaluation.results_digest} />],
          [t("run.started"), <Time value={evaluation.start_time} />],
          [t("run.ended"), <Time value={evaluation.end_time} />],
          [t("column.by"), <Actor value={evaluation.created_by} />],
        ]}
      />
    </Panel>
  );
}

function Stop({ evaluation }: { evaluation: Evaluation }) {
  const titles = useTitles();
  const { t } = useI18n();
  const mayStop = useMay("ENGINEER");
  const ask = useAskToRemove();
  const stop = useChange(["evaluation", "gpu_scheduler"], () => post(`/${evaluation.name}:cancel`));
  if (!mayStop || !isOpen(evaluation.state) || evaluation.state === "STATE_CANCELLING") return null;
  const what = titles.evaluation(evaluation);
  return (
    <Button icon={<StopOutlined aria-hidden />} onClick={() => ask.stop(what, () => stop.mutateAsync(undefined))}>
      {t("action.stop")}
    </Button>
  );
}

function Results({ path }: { path: string }) {
  const { t, language } = useI18n();
  const [which, setWhich] = useState("");
  return (
    <ResourceTable<Result>
      path={path}
      field="results"
      params={{ filter: which }}
      rowKey={(result) => result.row_id}
      empty={<Empty title={t("dataset.noRows")} />}
      tools={
        <Segmented
          aria-label={t("column.status")}
          value={which}
          onChange={setWhich}
          options={[
            { value: "", label: t("action.all") },
            { value: "exact=false", label: t("evaluations.wrong") },
            { value: "exact=true", label: t("evaluations.right") },
          ]}
        />
      }
      expandable={{ expandedRowRender: (result) => <ResultRow result={result} />, expandRowByClick: true }}
      columns={[
        {
          key: "exact",
          title: t("metric.exact"),
          render: (result) => <State value={result.exact ? "PASSED" : "FAILED"} />,
        },
        {
          key: "prompt",
          title: t("evaluations.prompt"),
          render: (result) => (
            <div className="row-cell two-lines" style={{ maxWidth: 420 }}>
              {result.prompt}
            </div>
          ),
        },
        {
          key: "slice",
          title: t("dataset.slice"),
          render: (result) => result.slice && <span className="chip">{result.slice}</span>,
        },
        {
          key: "latency",
          title: t("evaluations.latency"),
          align: "right",
          render: (result) => <span className="num">{formatMs(language, result.latency_ms)}</span>,
        },
      ]}
    />
  );
}

function ResultRow({ result }: { result: Result }) {
  const { t } = useI18n();
  return (
    <div className="halves">
      <div className="stack-s">
        <span className="quiet">{t("evaluations.expected")}</span>
        <div className="answer-box">
          <Content text={result.expected} />
        </div>
      </div>
      <div className="stack-s">
        <span className="quiet">{t("evaluations.answer")}</span>
        <div className="answer-box">
          <Content text={result.answer} />
        </div>
      </div>
    </div>
  );
}
