import type { UseQueryResult } from "@tanstack/react-query";
import { Select } from "antd";
import { useMemo, useState } from "react";
import { Link, useParams } from "react-router";
import { merge, useRunPoints } from "@/api/live";
import { bare, lastPart } from "@/api/names";
import { useGet, useProject } from "@/api/queries";
import type { Checkpoint, MetricPoint, Run } from "@/api/types";
import { PageSkeleton } from "@/app/PageSkeleton";
import { useI18n } from "@/i18n";
import { Actor } from "@/ui/Actor";
import { Curve } from "@/ui/chart/Curve";
import { Empty } from "@/ui/Empty";
import { Copyable, Digest, Ref } from "@/ui/Id";
import { Log } from "@/ui/Log";
import { Facts, Page, Panel } from "@/ui/Page";
import { isOpen, State } from "@/ui/State";
import { Failure, Trouble } from "@/ui/Trouble";
import { useTitles } from "@/ui/useTitles";
import { Bytes, Time } from "@/ui/values";
import { Alarms } from "./Alarms";
import { metricNames, seriesOf } from "./curves";
import { HealthFacts } from "./Health";
import { HyperparameterFacts } from "./Hyperparameters";
import { Samples } from "./Samples";
import { Steer } from "./Steer";
import { Vitals } from "./Vitals";

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
          <Samples run={data} />
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
          run.content_digest !== "" && [t("run.contentDigest"), <Digest key="content" value={run.content_digest} />],
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
