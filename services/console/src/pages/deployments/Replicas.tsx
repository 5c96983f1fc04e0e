import { FileTextOutlined } from "@ant-design/icons";
import { Button, Drawer, Table, Tooltip } from "antd";
import { useState } from "react";
import { bare, lastPart, shortName } from "@/api/names";
import { useList } from "@/api/queries";
import type { Deployment, Replica } from "@/api/types";
import { useI18n } from "@/i18n";
import { Copyable } from "@/ui/Id";
import { Log } from "@/ui/Log";
import { State } from "@/ui/State";
import { Trouble } from "@/ui/Trouble";
import { Nothing, Num, Time } from "@/ui/values";

const SHOWN = 200;

/** How many are ready of all that there should be, and between which bounds that number moves. */
export function ReplicaCount({ deployment }: { deployment: Deployment }) {
  const { t } = useI18n();
  const launched = deployment.targets.filter((target) => target.variant);
  const wanted = launched.reduce((sum, target) => sum + target.replicas, 0);
  if (!launched.length) return <Nothing />;
  const { min_replicas: min = 1, max_replicas: max = 1 } = deployment.scale ?? {};
  const ready = launched.reduce((sum, target) => sum + target.ready_replicas, 0);
  return (
    <span className="nowrap">
      <span className="num">{wanted ? t("deployments.readyOf", { ready, wanted }) : t("deployments.asleep")}</span>
      {min !== max && <span className="quiet num"> {t("deployments.bounds", { min, max })}</span>}
      {(deployment.scale?.schedule?.windows.length ?? 0) > 0 && (
        <span className="quiet"> {t("deployments.bySchedule")}</span>
      )}
    </span>
  );
}

/** The engines that were launched for a deployment, oldest first, each with its log. */
export function Replicas({ deployment }: { deployment: Deployment }) {
  const { t } = useI18n();
  const [read, setRead] = useState<Replica | null>(null);
  const isLaunched = deployment.targets.some((target) => target.variant);
  const { data, error, isPending } = useList<"replicas", Replica>(
    `/${deployment.name}/replicas`,
    { page_size: SHOWN },
    { refetchInterval: 2000, enabled: isLaunched },
  );
  if (!isLaunched) return null;
  if (error) return <Trouble error={error} />;
  const variants = new Map(deployment.targets.map((target) => [target.id, target.variant]));
  return (
    <>
      <Table<Replica>
        size="small"
        rowKey="name"
        loading={isPending}
        dataSource={data?.replicas ?? []}
        pagination={false}
        locale={{ emptyText: t("deployments.noReplicas") }}
        scroll={{ x: "max-content" }}
        columns={[
          { title: t("deployments.replica"), render: (_, one) => <Copyable value={lastPart(one.name)} /> },
          { title: t("deployments.target"), render: (_, one) => shortName(variants.get(one.target) ?? "") },
          { title: t("column.status"), render: (_, one) => <State value={one.state} why={one.failure_reason} /> },
          { title: t("deployments.requests"), align: "right", render: (_, one) => <Num value={one.requests} /> },
          {
            title: t("deployments.address"),
            render: (_, one) => (one.address ? <span className="mono">{one.address}</span> : <Nothing />),
          },
          { title: t("deployments.failures"), align: "right", render: (_, one) => <Num value={one.failures} /> },
          { title: t("deployments.readySince"), render: (_, one) => <Time value={one.ready_time} /> },
          { title: t("deployments.again"), render: (_, one) => <Time value={one.retry_time} /> },
          {
            title: t("column.actions"),
            render: (_, one) => (
              <Tooltip title={t("log.title")}>
                <Button
                  type="text"
                  size="small"
                  icon={<FileTextOutlined aria-hidden />}
                  aria-label={`${t("log.title")} ${lastPart(one.name)}`}
                  onClick={() => setRead(one)}
                />
              </Tooltip>
            ),
          },
        ]}
      />
      <Drawer
        open={read !== null}
        onClose={() => setRead(null)}
        title={t("deployments.logOf", { what: lastPart(read?.name ?? "") })}
        size={760}
        destroyOnHidden
      >
        {read && (
          <div className="stack">
            {read.failure_message && <p className="second">{read.failure_message}</p>}
            <Log path={`/${read.name}/logs`} available={bare(read.state) !== "PENDING"} live />
          </div>
        )}
      </Drawer>
    </>
  );
}
