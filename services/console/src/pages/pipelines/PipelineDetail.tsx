import { StopOutlined } from "@ant-design/icons";
import { Button } from "antd";
import { useParams } from "react-router";
import { post } from "@/api/client";
import { bare, lastPart } from "@/api/names";
import { useChange, useGet, useMay, useProject } from "@/api/queries";
import type { Pipeline, Verdict } from "@/api/types";
import { PageSkeleton } from "@/app/PageSkeleton";
import { useI18n } from "@/i18n";
import { Outcomes } from "@/pages/evaluations/Verdicts";
import { Actor } from "@/ui/Actor";
import { Copyable, Ref } from "@/ui/Id";
import { LineageGraph } from "@/ui/lineage/LineageGraph";
import { Facts, Page, Panel } from "@/ui/Page";
import { isOpen, State } from "@/ui/State";
import { Failure, Trouble } from "@/ui/Trouble";
import { useAskToRemove } from "@/ui/useConfirm";
import { useTitles } from "@/ui/useTitles";
import { Cost, Nothing, Time } from "@/ui/values";
import { StageTable, StageTrack } from "./Stages";

export function PipelineDetail() {
  const { t } = useI18n();
  const titles = useTitles();
  const project = useProject();
  const { id = "" } = useParams();
  const lap = useGet<Pipeline>(`/projects/${project}/pipelines/${id}`, {}, { refetchInterval: 3000 });
  const back = { text: t("pipelines.title"), to: `/p/${project}/pipelines` };
  if (lap.isPending) return <PageSkeleton />;
  if (lap.isError) {
    return (
      <Page title={id} back={back}>
        <Trouble error={lap.error} retry={() => lap.refetch()} />
      </Page>
    );
  }
  const { data } = lap;
  return (
    <Page
      title={titles.lap(data)}
      back={back}
      lead={<State value={data.state} why={data.failure_reason} />}
      actions={<Stop lap={data} />}
    >
      <Panel>
        <StageTrack stages={data.stages} />
      </Panel>
      {bare(data.state) !== "REFUSED" && <Failure reason={data.failure_reason} message={data.failure_message} />}
      {verdictsOf(data).map((name) => (
        <Gate key={name} name={name} />
      ))}
      <div className="columns">
        <Panel title={t("pipelines.stages")} flush>
          <StageTable stages={data.stages} />
        </Panel>
        <About lap={data} />
      </div>
      {data.model_version && (
        <Panel title={t("lineage.title")}>
          <LineageGraph name={data.model_version} />
        </Panel>
      )}
    </Page>
  );
}

function Stop({ lap }: { lap: Pipeline }) {
  const titles = useTitles();
  const { t } = useI18n();
  const mayStop = useMay("ENGINEER");
  const ask = useAskToRemove();
  const stop = useChange(["training_scheduler", "gpu_scheduler"], () => post(`/${lap.name}:cancel`));
  if (!mayStop || !isOpen(lap.state) || bare(lap.state) === "CANCELLING") return null;
  return (
    <Button
      icon={<StopOutlined aria-hidden />}
      onClick={() => ask.stop(titles.lap(lap), () => stop.mutateAsync(undefined))}
    >
      {t("action.stop")}
    </Button>
  );
}

/** One for each suite that a rule of the gate looks at. */
function verdictsOf(lap: Pipeline): string[] {
  const facts = lap.stages.find((stage) => stage.id === "gate")?.result ?? {};
  const named = Object.entries(facts).flatMap(([key, value]) => (key.startsWith("verdict/") ? [value] : []));
  return [...new Set(lap.verdict ? [...named, lap.verdict] : named)];
}

function Gate({ name }: { name: string }) {
  const { t } = useI18n();
  const verdict = useGet<Verdict>(`/${name}`);
  return (
    <Panel title={t("stage.gate")} extra={verdict.data && <State value={verdict.data.state} />}>
      {verdict.isError && <Trouble error={verdict.error} retry={() => verdict.refetch()} />}
      {verdict.data && (
        <div style={{ overflowX: "auto" }}>
          <Outcomes outcomes={verdict.data.outcomes} />
        </div>
      )}
    </Panel>
  );
}

function About({ lap }: { lap: Pipeline }) {
  const { t } = useI18n();
  const { spec } = lap;
  return (
    <Panel title={t("pipelines.about")}>
      <Facts
        list
        rows={[
          [t("column.id"), <Copyable value={lastPart(lap.name)} />],
          [t("runs.base"), <Ref name={spec?.base} />],
          [
            t("pipelines.batch"),
            spec?.feedback_batch ? (
              <span className="mono">{lastPart(spec.feedback_batch).slice(-8)}</span>
            ) : (
              <Nothing />
            ),
          ],
          [t("run.result"), <Ref name={lap.model_version} />],
          [t("pipelines.deployment"), <Ref name={spec?.deployment} />],
          [t("pipelines.alias"), spec?.alias || <Nothing />],
          [t("pipelines.quantisations"), spec?.quantisations.join(", ") || <Nothing />],
          [t("column.cost"), <Cost microusd={lap.cost_microusd} />],
          [t("run.seed"), spec?.seed],
          [t("column.created"), <Time value={lap.create_time} />],
          [t("run.started"), <Time value={lap.start_time} />],
          [t("run.ended"), <Time value={lap.end_time} />],
          [t("column.by"), <Actor value={lap.created_by} />],
        ]}
      />
    </Panel>
  );
}
