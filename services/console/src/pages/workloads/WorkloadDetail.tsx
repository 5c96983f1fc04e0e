import { PauseOutlined, PlayCircleOutlined, StopOutlined } from "@ant-design/icons";
import { Button } from "antd";
import { useParams } from "react-router";
import { post } from "@/api/client";
import { bare, lastPart } from "@/api/names";
import { useChange, useGet, useMay, useProject } from "@/api/queries";
import type { Resources, Workload } from "@/api/types";
import { PageSkeleton } from "@/app/PageSkeleton";
import { type Language, useI18n } from "@/i18n";
import { formatBytes, formatDuration, formatNumber } from "@/i18n/format";
import { Actor } from "@/ui/Actor";
import { Copyable, Ref } from "@/ui/Id";
import { Log } from "@/ui/Log";
import { Facts, Page, Panel } from "@/ui/Page";
import { isOpen, State } from "@/ui/State";
import { Failure, Trouble } from "@/ui/Trouble";
import { useAskToRemove, useConfirm, useReport } from "@/ui/useConfirm";
import { useTitles } from "@/ui/useTitles";
import { Bytes, Cost, Nothing, Time } from "@/ui/values";
import { GaveWay, Timeline } from "./Timeline";
import "./workload.css";
import { useMessage } from "@/ui/useMessage";

/** Milliseconds; position and prospects change without an event. */
const REFRESH = 4000;
const HOLDING = ["ADMITTED", "STARTING", "RUNNING"];
const OWNERS = ["gpu_scheduler", "training_scheduler"];

export function WorkloadDetail() {
  const { t } = useI18n();
  const titles = useTitles();
  const project = useProject();
  const { id = "" } = useParams();
  const workload = useGet<Workload>(`/projects/${project}/workloads/${id}`, {}, { refetchInterval: REFRESH });
  const back = { text: t("queue.title"), to: `/p/${project}/queue` };
  if (workload.isPending) return <PageSkeleton />;
  if (workload.isError) {
    return (
      <Page title={id} back={back}>
        <Trouble error={workload.error} retry={() => workload.refetch()} />
      </Page>
    );
  }
  const { data } = workload;
  return (
    <Page
      title={titles.workload(data)}
      back={back}
      lead={<State value={data.state} why={data.waiting_reason || data.failure_reason} />}
      actions={<Actions workload={data} />}
    >
      <Failure reason={data.failure_reason} message={data.waiting_message ? "" : data.failure_message} />
      <div className="columns">
        <div className="stack">
          {data.waiting_reason && <Why workload={data} />}
          <Timeline workload={data} />
          <Log path={`/${data.name}/logs`} available={data.attempt > 0} live={isOpen(data.state)} />
        </div>
        <About workload={data} />
      </div>
    </Page>
  );
}

function Actions({ workload }: { workload: Workload }) {
  const { t } = useI18n();
  const message = useMessage();
  const titles = useTitles();
  const mayChange = useMay("ENGINEER");
  const confirm = useConfirm();
  const report = useReport();
  const ask = useAskToRemove();
  const call = useChange(OWNERS, (verb: "hold" | "release" | "cancel") => post(`/${workload.name}:${verb}`));
  if (!mayChange || !isOpen(workload.state)) return null;
  const what = titles.workload(workload);
  const hold = () =>
    confirm({
      title: t("workload.holdTitle", { what }),
      hint: t(HOLDING.includes(bare(workload.state)) ? "workload.holdRunning" : "workload.holdWaiting"),
      confirm: t("workload.hold"),
      done: t("workload.holdDone", { what }),
      act: () => call.mutateAsync("hold"),
    });
  const release = () =>
    call.mutate("release", {
      onError: report,
      onSuccess: () => message.success(t("workload.releaseDone", { what })),
    });
  return (
    <>
      {workload.held ? (
        <Button icon={<PlayCircleOutlined aria-hidden />} loading={call.isPending} onClick={release}>
          {t("workload.release")}
        </Button>
      ) : (
        <Button icon={<PauseOutlined aria-hidden />} onClick={hold}>
          {t("workload.hold")}
        </Button>
      )}
      <Button icon={<StopOutlined aria-hidden />} onClick={() => ask.stop(what, () => call.mutateAsync("cancel"))}>
        {t("action.stop")}
      </Button>
    </>
  );
}

/** The reason in the reader's language, and the scheduler's own sentence with its figures. */
function Why({ workload }: { workload: Workload }) {
  const { t, word } = useI18n();
  return (
    <Panel title={t("workload.why")}>
      <div className="why">
        <p>
          <strong>{word("reason", workload.waiting_reason)}</strong>
        </p>
        {workload.waiting_message && (
          <p lang="en" className="second" translate="no">
            {workload.waiting_message}
          </p>
        )}
        <Facts
          rows={[
            workload.queue_position > 0 && [t("workload.position"), String(workload.queue_position)],
            [
              t("workload.earliest"),
              workload.earliest_start_time ? (
                <>
                  <Time value={workload.earliest_start_time} />
                  {workload.earliest_start_estimated ? ` ${t("workload.estimated")}` : ""}
                </>
              ) : (
                <span className="quiet">{t("workload.noEarliest")}</span>
              ),
            ],
          ]}
        />
      </div>
    </Panel>
  );
}

function About({ workload }: { workload: Workload }) {
  const { t, word, language } = useI18n();
  const { spec, usage } = workload;
  const longest = spec?.max_run_seconds ?? 0;
  return (
    <Panel title={t("workload.about")}>
      <Facts
        list
        rows={[
          [t("column.id"), <Copyable value={lastPart(workload.name)} />],
          [t("column.type"), word("kind", bare(spec?.kind ?? ""))],
          workload.display_name !== "" && [t("column.name"), <span translate="no">{workload.display_name}</span>],
          [t("workloads.owner"), spec?.owner ? <Ref name={spec.owner} /> : <Nothing />],
          [t("workload.queue"), <span translate="no">{lastPart(spec?.queue ?? "")}</span>],
          [t("run.priority"), String(spec?.priority ?? 0)],
          [t("workload.asks"), spec?.requests ? requestText(language, t, spec.requests) : <Nothing />],
          spec?.guaranteed === true && [t("workload.guaranteed"), t("workload.guaranteedHint")],
          longest > 0 && [t("workload.maxRun"), formatDuration(language, longest)],
          [t("run.attempt"), String(workload.attempt || "–")],
          [t("workloads.node"), lastPart(workload.node) || <Nothing />],
          [t("workload.flavor"), lastPart(workload.flavor) || <Nothing />],
          [t("deployments.address"), workload.address || <Nothing />],
          workload.preemptions > 0 && [
            t("workload.gaveWay"),
            <div key="gave way">
              {t("workload.times", { n: workload.preemptions })}
              {workload.preemption_rule && <GaveWay rule={workload.preemption_rule} gainer={workload.preempted_for} />}
            </div>,
          ],
          [t("workloads.cpuTime"), usage ? formatDuration(language, usage.cpu_seconds) : <Nothing />],
          [t("workloads.held"), usage ? formatDuration(language, usage.held_seconds) : <Nothing />],
          [t("workloads.peak"), <Bytes value={usage?.peak_memory_bytes} />],
          [t("column.cost"), <Cost microusd={usage?.cost_microusd} />],
          [t("column.created"), <Time value={workload.create_time} />],
          [t("run.started"), <Time value={workload.start_time} />],
          [t("run.ended"), <Time value={workload.end_time} />],
          [t("column.by"), <Actor value={workload.created_by} />],
        ]}
      />
    </Panel>
  );
}

function requestText(language: Language, t: ReturnType<typeof useI18n>["t"], requests: Resources): string {
  const cards = requests.gpu + requests.gpu_milli / 1000;
  const parts = [
    cards > 0 && `${t("quotas.kind.gpu")}: ${formatNumber(language, cards, 3)}`,
    `${t("quotas.kind.cpu_milli")}: ${formatNumber(language, requests.cpu_milli / 1000, 2)}`,
    Number(requests.memory_bytes) > 0 &&
      `${t("quotas.kind.memory_bytes")}: ${formatBytes(Number(requests.memory_bytes))}`,
  ];
  return parts.filter(Boolean).join(", ");
}
