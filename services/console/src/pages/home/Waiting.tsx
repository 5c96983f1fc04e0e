import { ArrowRightOutlined } from "@ant-design/icons";
import { Skeleton } from "antd";
import { Link } from "react-router";
import { bare, lastPart } from "@/api/names";
import { useList, useMay, useProject } from "@/api/queries";
import type { Deployment, Feedback, Pipeline, Run, Summary } from "@/api/types";
import { useI18n } from "@/i18n";
import { Panel } from "@/ui/Page";
import { useTitles } from "@/ui/useTitles";

interface Task {
  key: string;
  to: string;
  text: string;
  bad?: boolean;
}

/** What waits for whoever looks, by what his role lets him do about it. */
export function Waiting({ summary, lap, runs }: { summary?: Summary; lap?: Pipeline; runs: Run[] }) {
  const { t } = useI18n();
  const tasks = useTasks(summary, lap, runs);
  return (
    <Panel title={t("home.waiting")} flush>
      {!summary ? (
        <div className="panel-body">
          <Skeleton active title={false} />
        </div>
      ) : tasks.length ? (
        <ul className="home-list">
          {tasks.map((task) => (
            <li key={task.key}>
              <Link to={task.to} className="home-item row">
                <i className={task.bad ? "mark bad" : "mark"} aria-hidden />
                <span className="grow">{task.text}</span>
                <ArrowRightOutlined aria-hidden className="quiet" />
              </Link>
            </li>
          ))}
        </ul>
      ) : (
        <p className="panel-body quiet">{t("home.nothingWaits")}</p>
      )}
    </Panel>
  );
}

function useTasks(summary: Summary | undefined, lap: Pipeline | undefined, runs: Run[]): Task[] {
  const { t } = useI18n();
  const titles = useTitles();
  const project = useProject();
  const mayReview = useMay("REVIEWER");
  const mayBuild = useMay("ENGINEER");
  const free = useList<"feedback", Feedback>(`/projects/${project}/feedback`, {
    filter: "state=APPROVED AND batch=",
    page_size: 1,
  });
  const deployments = useList<"deployments", Deployment>(`/projects/${project}/deployments`, { page_size: 100 });
  const base = `/p/${project}`;
  const counts = summary?.counts ?? {};
  const review = counts.feedback_waiting ?? 0;
  const approved = Number(free.data?.total_size ?? 0);
  const unwell = (deployments.data?.deployments ?? []).filter((one) =>
    ["DEGRADED", "FAILED"].includes(bare(one.state)),
  );
  // The newest alone: an old failure that was followed by a success asks nothing of anybody.
  const failed = runs[0] && bare(runs[0].state) === "FAILED" ? runs[0] : undefined;

  const tasks: (Task | false | undefined)[] = [
    mayReview &&
      review > 0 && {
        key: "review",
        to: `${base}/feedback`,
        text: t("home.task.review", { n: review, count: review }),
      },
    mayReview &&
      approved > 0 && {
        key: "batch",
        to: `${base}/feedback?view=APPROVED`,
        text: t("home.task.batch", { count: approved }),
      },
    mayBuild &&
      lap &&
      bare(lap.state) === "REFUSED" && {
        key: lap.name,
        to: `${base}/pipelines/${lastPart(lap.name)}`,
        text: t("home.task.refused", { n: lap.number }),
        bad: true,
      },
    mayBuild &&
      lap &&
      bare(lap.state) === "FAILED" && {
        key: lap.name,
        to: `${base}/pipelines/${lastPart(lap.name)}`,
        text: t("home.task.lapFailed", { n: lap.number }),
        bad: true,
      },
    mayBuild &&
      failed && {
        key: failed.name,
        to: `${base}/runs/${lastPart(failed.name)}`,
        text: t("home.task.runFailed", { what: titles.run(failed) }),
        bad: true,
      },
    ...unwell.map((one) => ({
      key: one.name,
      to: `${base}/deployments?open=${lastPart(one.name)}`,
      text: t("home.task.deployment", { what: lastPart(one.name) }),
      bad: true,
    })),
    mayBuild && counts.datasets === 0 && { key: "upload", to: `${base}/datasets`, text: t("home.task.upload") },
    mayBuild && counts.models === 0 && { key: "import", to: `${base}/models`, text: t("home.task.import") },
    mayBuild &&
      counts.runs === 0 &&
      (counts.datasets ?? 0) > 0 &&
      (counts.models ?? 0) > 0 && { key: "train", to: `${base}/runs?new=`, text: t("home.task.train") },
    mayBuild &&
      counts.deployments === 0 &&
      (counts.models ?? 0) > 0 && { key: "deploy", to: `${base}/deployments?new=`, text: t("home.task.deploy") },
  ];
  return tasks.filter((task) => typeof task === "object");
}
