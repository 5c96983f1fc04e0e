import { PlusOutlined } from "@ant-design/icons";
import { Skeleton } from "antd";
import { useState } from "react";
import { useList, useProject } from "@/api/queries";
import type { ClusterQueue, Cohort, Queue } from "@/api/types";
import { useI18n } from "@/i18n";
import { Empty } from "@/ui/Empty";
import { Page, Panel } from "@/ui/Page";
import { Pager, usePages } from "@/ui/Pager";
import { Trouble } from "@/ui/Trouble";
import { ClusterQueueDrawer } from "./ClusterQueueDrawer";
import { CohortDrawer } from "./CohortDrawer";
import { LocalQueues } from "./LocalQueues";
import { OperatorButton } from "./operator";
import { PriorityClasses } from "./PriorityClasses";
import { BranchView } from "./QuotaTree";
import { doorsOf, treeOf } from "./quotas";
import "@/pages/queue/queue.css";
import "./queues.css";

/** What stands on one page of the tree; a tree that is cut shows less lent than there is. */
const PAGE = 500;
/** Milliseconds: use changes without an event. */
const REFRESH = 5000;

export function QueuesAndQuotas() {
  const { t } = useI18n();
  const [queue, setQueue] = useState<Partial<ClusterQueue> | null>(null);
  const [cohort, setCohort] = useState<Partial<Cohort> | null>(null);
  const cohorts = useList<"cohorts", Cohort>("/cohorts", { page_size: PAGE }, { refetchInterval: REFRESH });
  const known = cohorts.data?.cohorts ?? [];
  return (
    <Page
      title={t("quotas.title")}
      lead={t("quotas.lead")}
      actions={
        <>
          <OperatorButton onClick={() => setCohort({})}>{t("quotas.newCohort")}</OperatorButton>
          <OperatorButton type="primary" icon={<PlusOutlined aria-hidden />} onClick={() => setQueue({})}>
            {t("quotas.newQueue")}
          </OperatorButton>
        </>
      }
    >
      <Tree cohorts={cohorts} onQueue={setQueue} onCohort={setCohort} />
      <LocalQueues />
      <PriorityClasses />
      <ClusterQueueDrawer of={queue} cohorts={known} onClose={() => setQueue(null)} />
      <CohortDrawer of={cohort} cohorts={known} onClose={() => setCohort(null)} />
    </Page>
  );
}

interface TreeProps {
  cohorts: ReturnType<typeof useList<"cohorts", Cohort>>;
  onQueue: (queue: ClusterQueue) => void;
  onCohort: (cohort: Cohort) => void;
}

function Tree({ cohorts, onQueue, onCohort }: TreeProps) {
  const { t } = useI18n();
  const project = useProject();
  const pages = usePages("cluster-queues");
  const queues = useList<"cluster_queues", ClusterQueue>(
    "/cluster-queues",
    { page_size: PAGE, page_token: pages.token },
    { refetchInterval: REFRESH },
  );
  const own = useList<"queues", Queue>(
    `/projects/${project}/queues`,
    { page_size: PAGE },
    { refetchInterval: REFRESH },
  );
  const failed = [queues, cohorts].find((one) => one.isError);
  if (failed) {
    return (
      <Panel title={t("quotas.tree")}>
        <Trouble error={failed.error} retry={() => Promise.all([queues.refetch(), cohorts.refetch()])} />
      </Panel>
    );
  }
  if (!queues.data || !cohorts.data) {
    return (
      <Panel title={t("quotas.tree")}>
        <Skeleton active />
      </Panel>
    );
  }
  const doors = doorsOf(own.data?.queues ?? []);
  const roots = treeOf(queues.data.cluster_queues, cohorts.data.cohorts);
  return (
    <Panel title={t("quotas.tree")} extra={<Legend />} flush>
      {roots.map((root) => (
        <BranchView key={root.cohort?.name ?? ""} branch={root} doors={doors} onQueue={onQueue} onCohort={onCohort} />
      ))}
      {roots.length === 0 && <Empty title={t("quotas.empty")} hint={t("quotas.emptyHint")} />}
      <p className="panel-body quiet">{t("quotas.lentHint")}</p>
      {(queues.data.next_page_token || pages.index > 0) && (
        <Pager
          pages={pages}
          shown={queues.data.cluster_queues.length}
          pageSize={PAGE}
          next={queues.data.next_page_token}
          total={Number(queues.data.total_size)}
        />
      )}
    </Panel>
  );
}

function Legend() {
  const { t } = useI18n();
  return (
    <ul className="row wrap quota-legend" aria-label={t("quotas.legend")}>
      {(["own", "borrowed", "lent", "free"] as const).map((part) => (
        <li key={part} className="row">
          <i className={`swatch ${part}`} aria-hidden />
          {t(`quotas.${part}`)}
        </li>
      ))}
    </ul>
  );
}
