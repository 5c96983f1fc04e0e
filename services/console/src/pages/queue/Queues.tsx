import { Button, Skeleton } from "antd";
import { Link } from "react-router";
import { patch } from "@/api/client";
import { bare, lastPart } from "@/api/names";
import { useChange, useList, useMay, useProject } from "@/api/queries";
import type { FlavorQuota, Queue } from "@/api/types";
import { useI18n } from "@/i18n";
import { formatBytes, formatNumber } from "@/i18n/format";
import { Empty } from "@/ui/Empty";
import { Panel } from "@/ui/Page";
import { State } from "@/ui/State";
import { Trouble } from "@/ui/Trouble";
import { useReport } from "@/ui/useConfirm";
import { Meter } from "./Meter";

export function Queues() {
  const { t } = useI18n();
  const project = useProject();
  const queues = useList<"queues", Queue>(`/projects/${project}/queues`, { page_size: 100 }, { refetchInterval: 5000 });
  return (
    <Panel title={t("queues.title")} extra={<Link to={`/p/${project}/queues`}>{t("quotas.more")}</Link>} flush>
      {queues.isPending ? (
        <div className="panel-body">
          <Skeleton active />
        </div>
      ) : queues.isError ? (
        <div className="panel-body">
          <Trouble error={queues.error} retry={() => queues.refetch()} />
        </div>
      ) : queues.data.queues.length ? (
        queues.data.queues.map((queue) => <QueueView key={queue.name} queue={queue} />)
      ) : (
        <Empty title={t("queues.empty")} hint={t("queues.emptyHint")} />
      )}
    </Panel>
  );
}

function QueueView({ queue }: { queue: Queue }) {
  const { t } = useI18n();
  return (
    <article className="node">
      <header className="row">
        <strong className="grow" translate="no">
          {queue.display_name || lastPart(queue.name)} <span className="quiet">{lastPart(queue.cluster_queue)}</span>
        </strong>
        <HoldButton queue={queue} />
        <State value={queue.state} />
      </header>
      <dl className="facts queue-facts">
        <div>
          <dt>{t("queues.waiting")}</dt>
          <dd className="figure-big">{queue.pending_count}</dd>
        </div>
        <div>
          <dt>{t("queues.admitted")}</dt>
          <dd className="figure-big">{queue.admitted_count}</dd>
        </div>
        <div>
          <dt>{t("run.priority")}</dt>
          <dd className="figure-big">{queue.priority}</dd>
        </div>
      </dl>
      {queue.quotas.map((quota) => (
        <QuotaView key={quota.flavor} quota={quota} />
      ))}
    </article>
  );
}

function HoldButton({ queue }: { queue: Queue }) {
  const { t } = useI18n();
  const mayHold = useMay("ADMIN");
  const report = useReport();
  const held = bare(queue.state) === "HELD";
  const change = useChange(["gpu_scheduler"], () =>
    patch<Queue>(`/${queue.name}`, { state: held ? "STATE_ACTIVE" : "STATE_HELD", etag: queue.etag }),
  );
  if (!mayHold) return null;
  return (
    <Button size="small" loading={change.isPending} onClick={() => change.mutate(undefined, { onError: report })}>
      {held ? t("queues.resume") : t("queues.hold")}
    </Button>
  );
}

function QuotaView({ quota }: { quota: FlavorQuota }) {
  const { t, language } = useI18n();
  const { nominal, used } = quota;
  if (!nominal) return null;
  const cores = (milli: number) => formatNumber(language, milli / 1000, 2);
  const memory = Number(used?.memory_bytes ?? 0);
  return (
    <div>
      <div className="quiet">{t("queues.quota", { flavor: lastPart(quota.flavor) })}</div>
      <div className="meters">
        <Meter
          label={t("nodes.cores")}
          used={used?.cpu_milli ?? 0}
          of={nominal.cpu_milli}
          text={`${cores(used?.cpu_milli ?? 0)} / ${cores(nominal.cpu_milli)}`}
        />
        <Meter
          label={t("nodes.memory")}
          used={memory}
          of={Number(nominal.memory_bytes)}
          text={`${formatBytes(memory)} / ${formatBytes(Number(nominal.memory_bytes))}`}
        />
        {nominal.gpu > 0 && (
          <Meter
            label={t("nodes.cards")}
            used={used?.gpu ?? 0}
            of={nominal.gpu}
            text={`${used?.gpu ?? 0} / ${nominal.gpu}`}
          />
        )}
      </div>
    </div>
  );
}
