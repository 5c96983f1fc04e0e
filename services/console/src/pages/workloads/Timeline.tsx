import { Skeleton } from "antd";
import { useMemo } from "react";
import { lastPart } from "@/api/names";
import { useList, useProject } from "@/api/queries";
import type { Attempt, Workload } from "@/api/types";
import { type Translate, useI18n } from "@/i18n";
import { Ref } from "@/ui/Id";
import { Panel } from "@/ui/Page";
import { isOpen } from "@/ui/State";
import { Trouble } from "@/ui/Trouble";
import { Time } from "@/ui/values";
import { FOR_NOBODY, type Step, stepsOf } from "./timeline";

/** Of attempts; who has more of them is crashing. */
const PAGE = 200;
const REFRESH = 4000;
/** The server looks back 400 days at most. */
const LONGEST_MS = 399 * 86_400_000;

/** What happened to a workload: admissions, starts, ends, and why it had to go. */
export function Timeline({ workload }: { workload: Workload }) {
  const { t } = useI18n();
  const project = useProject();
  const begin = useMemo(
    () => new Date(Math.max(Date.parse(workload.create_time ?? "") || 0, Date.now() - LONGEST_MS)).toISOString(),
    [workload.create_time],
  );
  const list = useList<"attempts", Attempt>(
    `/projects/${project}/attempts`,
    { filter: `workload=${workload.name}`, start_time: begin, order_by: "admit_time", page_size: PAGE },
    { refetchInterval: isOpen(workload.state) && REFRESH },
  );
  const total = Number(list.data?.total_size ?? 0);
  return (
    <Panel title={t("workload.timeline")}>
      {list.isPending ? (
        <Skeleton active title={false} />
      ) : list.isError ? (
        <Trouble error={list.error} retry={() => list.refetch()} />
      ) : (
        <>
          <ol className="timeline">
            {stepsOf(workload, list.data.attempts).map((step) => (
              <li key={`${step.kind} ${step.time}`} className={step.kind}>
                <Time value={step.time} />
                <StepText step={step} />
              </li>
            ))}
          </ol>
          {total > PAGE && <p className="quiet">{t("workload.timelineCut", { n: PAGE, total })}</p>}
        </>
      )}
    </Panel>
  );
}

function StepText({ step }: { step: Step }) {
  const { t } = useI18n();
  return (
    <div>
      <div>{titleOf(t, step)}</div>
      {step.kind === "admitted" && (
        <div className="quiet" translate="no">
          {t("workload.on", { node: lastPart(step.attempt.node), flavor: lastPart(step.attempt.flavor) })}
        </div>
      )}
      {step.kind === "preempted" && step.rule && <GaveWay rule={step.rule} gainer={step.gainer} />}
    </div>
  );
}

/** By which rule and, as far as the reader may know, for whom. */
export function GaveWay({ rule, gainer }: { rule: string; gainer: string }) {
  const { t, word } = useI18n();
  return (
    <div className="second">
      {word("rule", rule)}
      {!FOR_NOBODY.includes(rule) && (
        <>
          {" · "}
          {t("workload.gainer")} {gainer ? <Ref name={gainer} /> : t("workload.foreign")}
        </>
      )}
    </div>
  );
}

function titleOf(t: Translate, step: Step): string {
  if (step.kind === "queued") return t("workload.queued");
  const n = step.attempt.number;
  if (step.kind === "ended") {
    return step.code === null ? t("workload.endedUnknown", { n }) : t("workload.ended", { n, code: step.code });
  }
  return t(`workload.${step.kind}`, { n });
}
