import { Tooltip } from "antd";
import { remove } from "@/api/client";
import { bare, lastPart } from "@/api/names";
import { useChange } from "@/api/queries";
import type { ClusterQueue, Cohort } from "@/api/types";
import { useI18n } from "@/i18n";
import { formatNumber } from "@/i18n/format";
import { useAskToRemove } from "@/ui/useConfirm";
import { EditAndDelete } from "./operator";
import { QuotaBars } from "./QuotaBars";
import { type Bar, type Branch, bars } from "./quotas";

interface Props {
  branch: Branch;
  /** Of the whole tree; found out at its root. */
  known?: Map<string, Bar[]>;
  /** Cluster queue → the project's own queues that point to it. */
  doors: Map<string, string[]>;
  onQueue: (queue: ClusterQueue) => void;
  onCohort: (cohort: Cohort) => void;
}

export function BranchView({ branch, known = bars(branch), doors, onQueue, onCohort }: Props) {
  const { t } = useI18n();
  const { cohort } = branch;
  return (
    <section className="branch" aria-label={cohort ? lastPart(cohort.name) : t("quotas.noCohort")}>
      <header className="row branch-head">
        <span className="quiet">{cohort ? t("quotas.cohort") : t("quotas.noCohort")}</span>
        {cohort && (
          <>
            <strong className="grow" translate="no">
              {lastPart(cohort.name)}
            </strong>
            <Actions path={`/cohorts/${lastPart(cohort.name)}`} of={cohort} onEdit={() => onCohort(cohort)} />
          </>
        )}
      </header>
      {cohort && cohort.quotas.length > 0 && (
        <div className="branch-own">
          <span className="quiet">{t("quotas.ownOfCohort")}</span>
          <QuotaBars bars={known.get(cohort.name) ?? []} />
        </div>
      )}
      <div className="branch-body">
        {branch.queues.map((queue) => (
          <QueueView
            key={queue.name}
            queue={queue}
            bars={known.get(queue.name) ?? []}
            own={doors.get(queue.name) ?? []}
            onEdit={() => onQueue(queue)}
          />
        ))}
        {branch.branches.map((below) => (
          <BranchView
            key={below.cohort?.name}
            branch={below}
            known={known}
            doors={doors}
            onQueue={onQueue}
            onCohort={onCohort}
          />
        ))}
        {branch.queues.length + branch.branches.length === 0 && <p className="quiet">{t("quotas.emptyCohort")}</p>}
      </div>
    </section>
  );
}

interface QueueProps {
  queue: ClusterQueue;
  bars: Bar[];
  own: string[];
  onEdit: () => void;
}

function QueueView({ queue, bars, own, onEdit }: QueueProps) {
  const { t, word, language } = useI18n();
  const figures: [string, string | number, string?][] = [
    [t("queues.waiting"), queue.pending_count],
    [t("queues.admitted"), queue.admitted_count],
    [t("quotas.doors"), queue.queue_count],
    [t("quotas.weight"), formatNumber(language, queue.weight, 2)],
    [t("quotas.share"), formatNumber(language, Number(queue.share), 2), t("quotas.shareHint")],
    [t("quotas.order"), word("quotas.strategy", bare(queue.strategy))],
  ];
  return (
    <article className="cluster-queue" aria-label={lastPart(queue.name)}>
      <header className="row">
        <strong translate="no">{lastPart(queue.name)}</strong>
        <span className="grow">
          {own.length > 0 && (
            <span className="quiet">
              {t("quotas.ownDoors")} <span translate="no">{own.join(", ")}</span>
            </span>
          )}
        </span>
        <Actions path={`/cluster-queues/${lastPart(queue.name)}`} of={queue} onEdit={onEdit} />
      </header>
      <dl className="row wrap quota-facts">
        {figures.map(([label, value, hint]) => (
          <Tooltip key={label} title={hint}>
            <div className="row">
              <dt className="quiet">{label}</dt>
              <dd className="num">{value}</dd>
            </div>
          </Tooltip>
        ))}
      </dl>
      {queue.quotas.length ? <QuotaBars bars={bars} /> : <p className="quiet">{t("quotas.unlimited")}</p>}
    </article>
  );
}

/** Change and delete, of whatever has a name and an etag. */
function Actions({ path, of, onEdit }: { path: string; of: ClusterQueue | Cohort; onEdit: () => void }) {
  const ask = useAskToRemove();
  const what = lastPart(of.name);
  const drop = useChange(["gpu_scheduler"], () => remove(`${path}?etag=${of.etag}`));
  return (
    <EditAndDelete what={what} onEdit={onEdit} onDelete={() => ask.remove(what, () => drop.mutateAsync(undefined))} />
  );
}
