import { StopOutlined } from "@ant-design/icons";
import { Button, Segmented } from "antd";
import { useMemo, useState } from "react";
import { useParams } from "react-router";
import { post } from "@/api/client";
import { merge, useRunPoints } from "@/api/live";
import { bare, lastPart } from "@/api/names";
import { useChange, useGet, useMay, useProject } from "@/api/queries";
import type { Checkpoint, MetricPoint, Run } from "@/api/types";
import { PageSkeleton } from "@/app/PageSkeleton";
import { type Language, useI18n } from "@/i18n";
import { durationSeconds, formatCost, formatDuration, formatNumber } from "@/i18n/format";
import { Actor } from "@/ui/Actor";
import { Curve, type XY } from "@/ui/chart/Curve";
import { Empty } from "@/ui/Empty";
import { Copyable, Digest, Ref } from "@/ui/Id";
import { Log } from "@/ui/Log";
import { Facts, Page, Panel } from "@/ui/Page";
import { ProgressBar } from "@/ui/ProgressBar";
import { isOpen, State } from "@/ui/State";
import { Failure, Trouble } from "@/ui/Trouble";
import { useAskToRemove } from "@/ui/useConfirm";
import { useTitles } from "@/ui/useTitles";
import { Bytes, Time } from "@/ui/values";
import { HyperparameterFacts } from "./Hyperparameters";

export function RunDetail() {
  const { t } = useI18n();
  const titles = useTitles();
  const project = useProject();
  const { id = "" } = useParams();
  const run = useGet<Run>(`/projects/${project}/runs/${id}`, {}, { refetchInterval: 10_000 });
  const back = { text: t("runs.title"), to: `/p/${project}/runs` };
  if (run.isPending) return <PageSkeleton />;
  if (run.isError) {
    return (
      <Page title={id} back={back}>
        <Trouble error={run.error} retry={() => run.refetch()} />
      </Page>
    );
  }
  const { data } = run;
  return (
    <Page
      title={titles.run(data)}
      back={back}
      lead={<State value={data.state} why={data.waiting_reason || data.failure_reason} />}
      actions={<StopButton run={data} />}
    >
      <Failure reason={data.failure_reason} message={data.failure_message} />
      <Vitals run={data} />
      <div className="columns">
        <div className="stack">
          <Curves run={data} />
          <Log path={`/${data.name}/logs`} available={data.workload !== ""} live={isOpen(data.state)} />
        </div>
        <div className="stack">
          <About run={data} />
          <Checkpoints run={data} />
        </div>
      </div>
    </Page>
  );
}

function StopButton({ run }: { run: Run }) {
  const { t } = useI18n();
  const titles = useTitles();
  const mayStop = useMay("ENGINEER");
  const ask = useAskToRemove();
  const stop = useChange(["training_scheduler", "gpu_scheduler"], () => post(`/${run.name}:cancel`));
  if (!mayStop || !isOpen(run.state) || bare(run.state) === "CANCELLING") return null;
  return (
    <Button
      icon={<StopOutlined aria-hidden />}
      onClick={() => ask.stop(titles.run(run), () => stop.mutateAsync(undefined))}
    >
      {t("action.stop")}
    </Button>
  );
}

function Vitals({ run }: { run: Run }) {
  const { t, word, language } = useI18n();
  const remaining = durationSeconds(run.eta);
  const figures: [string, string][] = [
    [
      t("run.step"),
      run.total_steps ? `${formatNumber(language, run.step)} / ${formatNumber(language, run.total_steps)}` : "–",
    ],
    [t("run.loss"), run.loss == null ? "–" : formatNumber(language, run.loss, 4)],
    [t("run.remaining"), remaining === undefined ? "–" : formatDuration(language, remaining)],
    [t("run.elapsed"), elapsed(language, run)],
    [t("column.cost"), formatCost(language, Number(run.cost_microusd))],
  ];
  return (
    <Panel>
      <dl className="facts">
        {figures.map(([label, value]) => (
          <div key={label}>
            <dt>{label}</dt>
            <dd className="figure-big">{value}</dd>
          </div>
        ))}
      </dl>
      <div style={{ marginTop: 12 }}>
        <ProgressBar done={run.step} total={run.total_steps} live={isOpen(run.state)} bare />
      </div>
      {run.waiting_reason && (
        <p className="second" style={{ marginTop: 10 }}>
          {word("reason", run.waiting_reason)}
        </p>
      )}
      {run.resumed_from_step > 0 && (
        <p className="second" style={{ marginTop: 10 }}>
          {t("run.resumed", { attempt: run.attempt, step: run.resumed_from_step })}
        </p>
      )}
    </Panel>
  );
}

function elapsed(language: Language, run: Run): string {
  if (!run.start_time) return "–";
  const end = run.end_time ? new Date(run.end_time).getTime() : Date.now();
  return formatDuration(language, Math.max(0, (end - new Date(run.start_time).getTime()) / 1000));
}

function Curves({ run }: { run: Run }) {
  const { t, word } = useI18n();
  const live = isOpen(run.state);
  const stored = useGet<{ points: MetricPoint[] }>(`/${run.name}/metrics`, { page_size: 5000 });
  const coming = useRunPoints(run.name.split("/")[1] ?? "", lastPart(run.name), live);
  const points = useMemo(() => merge(stored.data?.points ?? [], coming), [stored.data, coming]);
  const names = useMemo(() => metricNames(points), [points]);
  const [chosen, setChosen] = useState("");
  const name = chosen || names[0] || "";
  const series = useMemo(() => seriesOf(points, name), [points, name]);
  const switcher = names.length > 1 && (
    <Segmented
      aria-label={t("run.curve")}
      size="small"
      value={name}
      onChange={setChosen}
      options={names.slice(0, 6).map((one) => ({ value: one, label: word("curve", one) }))}
    />
  );
  return (
    <Panel title={name ? word("curve", name) : t("run.curve")} extra={switcher}>
      {stored.isError && <Trouble error={stored.error} retry={() => stored.refetch()} />}
      {series.length > 0 ? (
        <Curve name={word("curve", name)} points={series} until={run.total_steps || undefined} />
      ) : (
        <Empty title={t("run.noPoints")} hint={live ? t("run.noPointsHint") : undefined} />
      )}
    </Panel>
  );
}

/** The loss first, then what the method is about, then the rest. */
const ORDER = [
  "loss",
  "rewards/margins",
  "rewards/accuracies",
  "accuracy",
  "eval_loss",
  "mean_token_accuracy",
  "grad_norm",
  "learning_rate",
];
const OF_NO_INTEREST = /runtime|per_second|total_flos|epoch|num_tokens|^step$/;

export function metricNames(points: readonly MetricPoint[]): string[] {
  const names = [...new Set(points.flatMap((point) => Object.keys(point.metrics)))].filter(
    (name) => !OF_NO_INTEREST.test(name),
  );
  const rank = (name: string) => (ORDER.includes(name) ? ORDER.indexOf(name) : ORDER.length);
  return names.sort((a, b) => rank(a) - rank(b) || a.localeCompare(b));
}

function seriesOf(points: readonly MetricPoint[], name: string): XY[] {
  return points.flatMap((point): XY[] => {
    const value = point.metrics[name];
    return typeof value === "number" ? [[point.step, value]] : [];
  });
}

function About({ run }: { run: Run }) {
  const { t, word } = useI18n();
  const { spec } = run;
  if (!spec) return null;
  return (
    <Panel title={t("run.about")}>
      <Facts
        list
        rows={[
          [t("column.id"), <Copyable value={lastPart(run.name)} />],
          [t("runs.method"), word("method", bare(spec.method))],
          [t("runs.base"), <Ref name={spec.base} />],
          [
            t("run.datasets"),
            <span className="stack-s" style={{ gap: 0 }}>
              {spec.datasets.map((name) => (
                <Ref key={name} name={name} />
              ))}
            </span>,
          ],
          spec.reward_model !== "" && [t("run.rewardModel"), <Ref name={spec.reward_model} />],
          run.model_version !== "" && [t("run.result"), <Ref name={run.model_version} />],
          run.pipeline !== "" && [t("run.pipeline"), <Ref name={run.pipeline} />],
          [t("run.seed"), spec.seed],
          [t("run.attempt"), String(run.attempt || "–")],
          [t("column.created"), <Time value={run.create_time} />],
          [t("run.started"), <Time value={run.start_time} />],
          [t("run.ended"), <Time value={run.end_time} />],
          [t("column.by"), <Actor value={run.created_by} />],
        ]}
      />
      {spec.hyperparameters && <HyperparameterFacts values={spec.hyperparameters} />}
    </Panel>
  );
}

function Checkpoints({ run }: { run: Run }) {
  const { t } = useI18n();
  const list = useGet<{ checkpoints: Checkpoint[] }>(`/${run.name}/checkpoints`, { page_size: 100 });
  const checkpoints = [...(list.data?.checkpoints ?? [])].reverse();
  return (
    <Panel title={t("run.checkpoints")}>
      {list.isError ? (
        <Trouble error={list.error} retry={() => list.refetch()} />
      ) : checkpoints.length ? (
        <Facts
          list
          rows={checkpoints.map((one) => [
            t("run.atStep", { step: one.step }),
            <span key={one.name} className="row">
              <Bytes value={one.size_bytes} />
              <span className="grow" />
              <Digest value={one.digest} />
            </span>,
          ])}
        />
      ) : (
        <span className="quiet">{t(run.end_time ? "run.noCheckpointKept" : "run.noCheckpoints")}</span>
      )}
    </Panel>
  );
}
