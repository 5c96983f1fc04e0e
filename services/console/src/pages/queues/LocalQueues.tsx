import { DeleteOutlined, PauseOutlined, PlayCircleOutlined, PlusOutlined } from "@ant-design/icons";
import { Button, Form, Input, Select, Tooltip } from "antd";
import { useState } from "react";
import { patch, post, remove } from "@/api/client";
import { bare, lastPart, requestId } from "@/api/names";
import { useChange, useList, useMay, useProject } from "@/api/queries";
import type { ClusterQueue, Queue } from "@/api/types";
import { useI18n } from "@/i18n";
import { Empty } from "@/ui/Empty";
import { FormDrawer } from "@/ui/FormDrawer";
import { IdField } from "@/ui/IdField";
import { NumberInput } from "@/ui/NumberInput";
import { type Column, ResourceTable } from "@/ui/ResourceTable";
import { State } from "@/ui/State";
import { useAskToRemove, useConfirm, useReport } from "@/ui/useConfirm";
import { useMessage } from "@/ui/useMessage";

/** The queues of this project, which its administrators hold, release, make and delete. */
export function LocalQueues() {
  const { t } = useI18n();
  const project = useProject();
  const mayChange = useMay("ADMIN");
  const [creating, setCreating] = useState(false);
  return (
    <>
      <ResourceTable<Queue>
        path={`/projects/${project}/queues`}
        field="queues"
        rowKey={(queue) => queue.name}
        refetchInterval={5000}
        columns={useColumns()}
        tools={
          <>
            <strong style={{ order: -1, marginRight: 8 }}>{t("quotas.local")}</strong>
            {mayChange && (
              <Button icon={<PlusOutlined aria-hidden />} onClick={() => setCreating(true)}>
                {t("quotas.newLocal")}
              </Button>
            )}
          </>
        }
        empty={<Empty title={t("queues.empty")} hint={t("queues.emptyHint")} />}
      />
      <NewQueueDrawer open={creating} onClose={() => setCreating(false)} />
    </>
  );
}

function useColumns(): Column<Queue>[] {
  const { t } = useI18n();
  return [
    { key: "name", title: t("column.name"), sort: "name", render: (one) => <QueueName queue={one} /> },
    {
      key: "cluster_queue",
      title: t("quotas.clusterQueue"),
      render: (one) => <span translate="no">{lastPart(one.cluster_queue)}</span>,
    },
    { key: "status", title: t("column.status"), sort: "state", render: (one) => <State value={one.state} /> },
    {
      key: "priority",
      title: t("run.priority"),
      sort: "priority",
      align: "right",
      render: (one) => <span className="num">{one.priority}</span>,
    },
    {
      key: "waiting",
      title: t("queues.waiting"),
      align: "right",
      render: (one) => <span className="num">{one.pending_count}</span>,
    },
    {
      key: "admitted",
      title: t("queues.admitted"),
      align: "right",
      render: (one) => <span className="num">{one.admitted_count}</span>,
    },
    { key: "actions", title: t("column.actions"), render: (one) => <Actions queue={one} /> },
  ];
}

function QueueName({ queue }: { queue: Queue }) {
  return <span translate="no">{queue.display_name || lastPart(queue.name)}</span>;
}

function Actions({ queue }: { queue: Queue }) {
  const { t } = useI18n();
  const message = useMessage();
  const mayChange = useMay("ADMIN");
  const confirm = useConfirm();
  const report = useReport();
  const ask = useAskToRemove();
  const what = queue.display_name || lastPart(queue.name);
  const isHeld = bare(queue.state) === "HELD";
  const set = useChange(["gpu_scheduler"], (state: string) =>
    patch<Queue>(`/${queue.name}`, { state, etag: queue.etag }),
  );
  const drop = useChange(["gpu_scheduler"], () => remove(`/${queue.name}?etag=${queue.etag}`));
  if (!mayChange) return null;
  const hold = () =>
    confirm({
      title: t("quotas.holdTitle", { what }),
      hint: t("quotas.holdHint"),
      confirm: t("queues.hold"),
      done: t("quotas.holdDone", { what }),
      act: () => set.mutateAsync("STATE_HELD"),
    });
  const release = () =>
    set.mutate("STATE_ACTIVE", {
      onError: report,
      onSuccess: () => message.success(t("quotas.releaseDone", { what })),
    });
  const label = isHeld ? t("queues.resume") : t("queues.hold");
  return (
    <span className="row" style={{ gap: 0 }}>
      <Tooltip title={label}>
        <Button
          type="text"
          size="small"
          loading={set.isPending}
          icon={isHeld ? <PlayCircleOutlined aria-hidden /> : <PauseOutlined aria-hidden />}
          aria-label={`${label} ${what}`}
          onClick={isHeld ? release : hold}
        />
      </Tooltip>
      <Tooltip title={t("action.delete")}>
        <Button
          type="text"
          size="small"
          icon={<DeleteOutlined aria-hidden />}
          aria-label={`${t("action.delete")} ${what}`}
          onClick={() => ask.remove(what, () => drop.mutateAsync(undefined))}
        />
      </Tooltip>
    </span>
  );
}

interface Values {
  display_name: string;
  queue_id: string;
  cluster_queue?: string;
  priority: number;
}

function NewQueueDrawer({ open, onClose }: { open: boolean; onClose: () => void }) {
  const { t } = useI18n();
  const project = useProject();
  const shared = useList<"cluster_queues", ClusterQueue>("/cluster-queues", { page_size: 500 }, { enabled: open });
  const [request] = useState(requestId);
  const create = useChange(["gpu_scheduler"], (values: Values) =>
    post(`/projects/${project}/queues`, { ...values, request_id: `${request} ${values.queue_id}` }),
  );
  return (
    <FormDrawer<Values>
      open={open}
      onClose={onClose}
      title={t("quotas.newLocal")}
      submitText={t("action.create")}
      initialValues={{ priority: 0 }}
      onSubmit={(values) => create.mutateAsync(values)}
    >
      <Form.Item name="display_name" label={t("form.name")} rules={[{ required: true, message: t("form.required") }]}>
        <Input maxLength={120} autoComplete="off" />
      </Form.Item>
      <IdField name="queue_id" from="display_name" />
      <Form.Item
        name="cluster_queue"
        label={t("quotas.clusterQueue")}
        rules={[{ required: true, message: t("form.required") }]}
      >
        <Select
          loading={shared.isPending}
          placeholder={t("picker.choose")}
          options={(shared.data?.cluster_queues ?? []).map((one) => ({ value: one.name, label: lastPart(one.name) }))}
        />
      </Form.Item>
      <Form.Item name="priority" label={t("run.priority")} extra={t("quotas.priorityHint")}>
        <NumberInput precision={0} style={{ width: 200 }} />
      </Form.Item>
    </FormDrawer>
  );
}
