import type { UseQueryResult } from "@tanstack/react-query";
import { Select } from "antd";
import { useMemo, useState } from "react";
import { Link, useParams } from "react-router";
import { merge, useRunPoints } from "@/api/live";
import { bare, lastPart } from "@/api/names";
import { useGet, useProject } from "@/api/queries";
import type { Checkpoint, MetricPoint, Run } from "@/api/types";
import { PageSkeleton } from "@/app/PageSkeleton";
import { type Language, useI18n } from "@/i18n";
import { durationSeconds, formatCost, formatDuration, formatNumber } from "@/i18n/format";
import { Actor } from "@/ui/Actor";
import { Curve } from "@/ui/chart/Curve";
import { Empty } from "@/ui/Empty";
import { Copyable, Digest, Ref } from "@/ui/Id";
import { Log } from "@/ui/Log";
import { Facts, Page, Panel } from "@/ui/Page";
import { ProgressBar } from "@/ui/ProgressBar";
import { isOpen, State } from "@/ui/State";
import { Failure, Trouble } from "@/ui/Trouble";
import { useTitles } from "@/ui/useTitles";
import { Bytes, Time } from "@/ui/values";
import { Alarms } from "./Alarms";
import { metricNames, seriesOf } from "./curves";
import { HealthFacts } from "./Health";
import { HyperparameterFacts } from "./Hyperparameters";
import { Steer } from "./Steer";

export function RunDetail() {
  const { t } = useI18n();
  const titles = useTitles();
  const project = useProject();
  const { id = "" } = useParams();
  const run = useGet<Run>(`/projects/${project}/runs/${id}`, {}, { refetchInterval: 10_000 });
  const checkpoints = useGet<{ checkpoints: Checkpoint[] }>(`/projects/${project}/runs/${id}/checkpoints`, {
    page_size: 100,
  });
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
      actions={<Steer run={data} checkpoints={checkpoints.data?.checkpoints ?? []} />}
    >
      <Failure reason={data.failure_reason} message={data.failure_message} />
      <Alarms run={data} />
      <Vitals run={data} />
      <div className="columns">
        <div className="stack">
          <Curves run={data} />
          <Log path={`/${data.name}/logs`} available={data.workload !== ""} live={isOpen(data.state)} />
        </div>
        <div className="stack">
          <About run={data} />
          <Checkpoints run={data} list={checkpoints} />
        </div>
      </div>
    </Page>
  );
}

function Vitals({ run }: { run: Run }) {
  const { t, word, language } = useI18n();
  const remaining = durationSeconds(run.eta);
  const [low, high] = [durationSeconds(run.eta_low), durationSeconds(run.eta_high)];
  const figures: [string, string][] = [
    [
      t("run.step"),
      run.total_steps ? `${formatNumber(language, run.step)} / ${formatNumber(language, run.total_steps)}` : "–",
    ],
    [t("run.loss"), run.loss == null ? "–" : formatNumber(language, run.loss, 4)],
    [t("run.remaining"), remaining === undefined ? "–" : formatDuration(language, remaining)],
    [
      t("curve.tokens_per_second"),
      run.metrics.tokens_per_second ? formatNumber(language, run.metrics.tokens_per_second, 0) : "–",
    ],
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
      {low !== undefined && high !== undefined && (
        <p className="second" style={{ marginTop: 10 }}>
          {t("run.remainingBetween", { low: formatDuration(language, low), high: formatDuration(language, high) })}
        </p>
      )}
      {run.stopped_early && (
        <p className="second" style={{ marginTop: 10 }}>
          {t("run.stoppedEarly", { step: run.step })}
        </p>
      )}
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
    <Select
      aria-label={t("run.curve")}
      size="small"
      value={name}
      onChange={setChosen}
      options={names.map((one) => ({ value: one, label: word("curve", one) }))}
      popupMatchSelectWidth={false}
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

function About({ run }: { run: Run }) {
  const { t, word } = useI18n();
  const project = useProject();
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
          run.forked_from !== "" && [
            t("run.forkedFrom"),
            <Link key="origin" to={`/p/${project}/runs/${run.forked_from.split("/")[3]}`}>
              {t("run.atStep", { step: Number(lastPart(run.forked_from)) })}
            </Link>,
          ],
          [t("run.seed"), spec.seed],
          [t("run.attempt"), String(run.attempt || "–")],
          [t("column.created"), <Time value={run.create_time} />],
          [t("run.started"), <Time value={run.start_time} />],
          [t("run.ended"), <Time value={run.end_time} />],
          [t("column.by"), <Actor value={run.created_by} />],
        ]}
      />
      {spec.hyperparameters && <HyperparameterFacts values={spec.hyperparameters} />}
      <HealthFacts spec={spec} />
    </Panel>
  );
}

function Checkpoints({ run, list }: { run: Run; list: UseQueryResult<{ checkpoints: Checkpoint[] }> }) {
  const { t } = useI18n();
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
