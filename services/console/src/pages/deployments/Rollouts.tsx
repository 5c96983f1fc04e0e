import { Table } from "antd";
import { bare, lastPart, shortName } from "@/api/names";
import { useList } from "@/api/queries";
import type { Deployment, Rollout, Share } from "@/api/types";
import { useI18n } from "@/i18n";
import { formatPercent } from "@/i18n/format";
import { Actor } from "@/ui/Actor";
import { State } from "@/ui/State";
import { Trouble } from "@/ui/Trouble";
import { Nothing, Time } from "@/ui/values";

const SHOWN = 10;

/** How the split of a deployment changed, newest first. */
export function Rollouts({ deployment }: { deployment: Deployment }) {
  const { t } = useI18n();
  const { data, error, isPending } = useList<"rollouts", Rollout>(
    `/${deployment.name}/rollouts`,
    { page_size: SHOWN },
    { refetchInterval: isRunning(deployment) ? 1000 : 10_000 },
  );
  if (error) return <Trouble error={error} />;
  return (
    <Table<Rollout>
      size="small"
      rowKey="name"
      loading={isPending}
      dataSource={data?.rollouts ?? []}
      pagination={false}
      locale={{ emptyText: t("deployments.noRollouts") }}
      scroll={{ x: "max-content" }}
      columns={[
        { title: t("deployments.rollout"), render: (_, one) => <span className="num">{lastPart(one.name)}</span> },
        { title: t("deployments.from"), render: (_, one) => <Shares of={one.before} /> },
        { title: t("deployments.to"), render: (_, one) => <Shares of={one.after} /> },
        { title: t("deployments.steps"), render: (_, one) => <StepLine rollout={one} /> },
        { title: t("deployments.watched"), render: (_, one) => <EvidenceLines rollout={one} /> },
        { title: t("column.status"), render: (_, one) => <State value={one.state} why={one.failure_message} /> },
        { title: t("deployments.began"), render: (_, one) => <Time value={one.create_time} /> },
        { title: t("deployments.ended"), render: (_, one) => <Time value={one.end_time} /> },
        { title: t("deployments.by"), render: (_, one) => <Actor value={one.created_by} /> },
      ]}
    />
  );
}

/** Whether its split is on the way to another one. */
export function isRunning({ rollout }: Deployment): boolean {
  return bare(rollout?.state ?? "") === "RUNNING";
}

/** Whether there is a split to go back to. */
export function canRollBack({ rollout }: Deployment): boolean {
  return Boolean(rollout && (rollout.before.length || rollout.reverts || lastPart(rollout.name) !== "1"));
}

function Shares({ of }: { of: Share[] }) {
  const { language } = useI18n();
  if (!of.length) return <Nothing />;
  return (
    <span className="nowrap">
      {of
        .map((one) => {
          const what = shortName(one.variant) || one.upstream_model;
          return `${what} ${formatPercent(language, one.weight_percent / 100, 0)}`;
        })
        .join(" · ")}
    </span>
  );
}

/** What the guard saw of both versions; a measure without answers yet says so. */
function EvidenceLines({ rollout }: { rollout: Rollout }) {
  const { t, word, language } = useI18n();
  if (!rollout.evidence.length) return <Nothing />;
  const share = (bad: string, count: string) => formatPercent(language, Number(bad) / Math.max(Number(count), 1), 1);
  return (
    <ul className="evidence">
      {rollout.evidence.map((one) => (
        <li key={one.measure}>
          {word("measure", one.measure)}{" "}
          {Number(one.new_count) && Number(one.old_count) ? (
            <span className="num">
              {t("deployments.newAndOld", {
                new: share(one.new_bad, one.new_count),
                old: share(one.old_bad, one.old_count),
              })}
            </span>
          ) : (
            <span className="quiet">{t("deployments.noAnswersYet")}</span>
          )}
        </li>
      ))}
    </ul>
  );
}

/** Steps that came into force stand out from those to come. */
function StepLine({ rollout }: { rollout: Rollout }) {
  const { language } = useI18n();
  return (
    <span className="row num" style={{ gap: 8 }}>
      {rollout.steps.map((percent, index) => {
        const step = rollout.history[index];
        const text = formatPercent(language, percent / 100, 0);
        return step ? (
          <b key={percent} title={new Date(step.time ?? 0).toLocaleString(language)}>
            {text}
          </b>
        ) : (
          <span key={percent} className="quiet">
            {text}
          </span>
        );
      })}
    </span>
  );
}
