import { Skeleton } from "antd";
import type { ReactNode } from "react";
import { Link } from "react-router";
import { bare, lastPart, shortName } from "@/api/names";
import { useProject } from "@/api/queries";
import type { Evaluation, Pipeline, Run } from "@/api/types";
import { useI18n } from "@/i18n";
import { durationSeconds, formatDuration, formatNumber } from "@/i18n/format";
import { StageDots } from "@/pages/pipelines/Stages";
import { Panel } from "@/ui/Page";
import { ProgressBar } from "@/ui/ProgressBar";
import { isOpen, State } from "@/ui/State";
import { useTitles } from "@/ui/useTitles";

/** What goes on now, with how far it is. */
export function Running({
  runs,
  laps,
  evaluations,
  loading,
}: {
  runs: Run[];
  laps: Pipeline[];
  evaluations: Evaluation[];
  loading: boolean;
}) {
  const { t, word, language } = useI18n();
  const titles = useTitles();
  const project = useProject();
  const items = [
    ...laps
      .filter((lap) => isOpen(lap.state))
      .map((lap) => (
        <Item
          key={lap.name}
          to={`/p/${project}/pipelines/${lastPart(lap.name)}`}
          title={titles.lap(lap)}
          state={<State value={lap.state} />}
        >
          <StageDots stages={lap.stages} />
        </Item>
      )),
    ...runs
      .filter((run) => isOpen(run.state))
      .map((run) => {
        const remaining = durationSeconds(run.eta);
        return (
          <Item
            key={run.name}
            to={`/p/${project}/runs/${lastPart(run.name)}`}
            title={titles.run(run)}
            state={<State value={run.state} why={run.waiting_reason} />}
          >
            <ProgressBar done={run.step} total={run.total_steps} live />
            <span className="row quiet num">
              {run.loss != null && <span>{t("home.loss", { loss: formatNumber(language, run.loss, 3) })}</span>}
              {remaining !== undefined && (
                <span>{t("home.remaining", { time: formatDuration(language, remaining) })}</span>
              )}
              {run.waiting_reason && <span>{word("reason", run.waiting_reason)}</span>}
            </span>
          </Item>
        );
      }),
    ...evaluations
      .filter((one) => isOpen(one.state))
      .map((one) => (
        <Item
          key={one.name}
          to={`/p/${project}/evaluations/${lastPart(one.name)}`}
          title={t("home.evaluating", { variant: shortName(one.variant) })}
          state={<State value={one.state} why={bare(one.state) === "QUEUED" ? one.waiting_reason : undefined} />}
        />
      )),
  ];
  return (
    <Panel title={t("home.running")} flush>
      {loading ? (
        <div className="panel-body">
          <Skeleton active title={false} />
        </div>
      ) : items.length ? (
        <ul className="home-list">{items}</ul>
      ) : (
        <p className="panel-body quiet">{t("home.nothingRuns")}</p>
      )}
    </Panel>
  );
}

function Item({ to, title, state, children }: { to: string; title: string; state: ReactNode; children?: ReactNode }) {
  return (
    <li>
      <Link to={to} className="home-item">
        <span className="row">
          <span className="grow ellipsis">{title}</span>
          {state}
        </span>
        {children}
      </Link>
    </li>
  );
}
