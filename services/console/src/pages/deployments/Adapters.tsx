import { Button, Form, Input, Select, Table } from "antd";
import { useState } from "react";
import { post } from "@/api/client";
import { lastPart, shortName } from "@/api/names";
import { useChange, useList, useMay, useProject } from "@/api/queries";
import type { Adapter, ApiKey, Deployment } from "@/api/types";
import { useI18n } from "@/i18n";
import { FormDrawer } from "@/ui/FormDrawer";
import { Copyable } from "@/ui/Id";
import { AdapterPicker } from "@/ui/Pickers";
import { useConfirm } from "@/ui/useConfirm";
import { useMessage } from "@/ui/useMessage";

const OWNERS = ["inference_gateway", "gpu_scheduler"];

/** What a deployment serves on its base beside the base itself. */
export function Adapters({ deployment }: { deployment: Deployment }) {
  const { t } = useI18n();
  const mayWrite = useMay("ENGINEER");
  const [adding, setAdding] = useState(false);
  const confirm = useConfirm();
  const set = useSetAdapters(deployment);
  const there = adaptersOf(deployment);
  const id = lastPart(deployment.name);
  const askRemove = (one: Adapter) =>
    confirm({
      title: t("adapter.removeTitle", { what: `${id}:${one.id}` }),
      hint: t("adapter.removeHint"),
      confirm: t("adapter.remove"),
      done: t("adapter.changed"),
      act: () => set.mutateAsync(there.filter((each) => each.id !== one.id)),
    });
  return (
    <div className="stack-s">
      <div className="row">
        <p className="grow quiet">{t("adapter.lead")}</p>
        {mayWrite && (
          <Button size="small" onClick={() => setAdding(true)}>
            {t("adapter.add")}
          </Button>
        )}
      </div>
      <Table<Adapter>
        size="small"
        rowKey="id"
        dataSource={there}
        pagination={false}
        locale={{ emptyText: t("adapter.empty") }}
        columns={[
          { key: "model", title: t("adapter.model"), render: (_, one) => <Copyable value={`${id}:${one.id}`} /> },
          { key: "variant", title: t("adapter.variant"), render: (_, one) => shortName(one.variant) },
          {
            key: "keys",
            title: t("adapter.for"),
            render: (_, one) => (one.keys.length ? <Keys names={one.keys} /> : t("adapter.everybody")),
          },
          {
            key: "do",
            align: "right",
            render: (_, one) =>
              mayWrite && (
                <Button size="small" onClick={() => askRemove(one)}>
                  {t("adapter.remove")}
                </Button>
              ),
          },
        ]}
      />
      <AddDrawer deployment={deployment} open={adding} onClose={() => setAdding(false)} />
    </div>
  );
}

/** By their titles, for a key's id says nothing to anybody. */
function Keys({ names }: { names: string[] }) {
  const keys = useKeys();
  const titles = new Map(keys.data?.keys.map((key) => [key.name, key.display_name || key.prefix]));
  return <>{names.map((name) => titles.get(name) ?? lastPart(name)).join(", ")}</>;
}

interface Values {
  id: string;
  variant: string;
  keys: string[];
}

function AddDrawer({ deployment, open, onClose }: { deployment: Deployment; open: boolean; onClose: () => void }) {
  const { t } = useI18n();
  const message = useMessage();
  const keys = useKeys();
  const set = useSetAdapters(deployment);
  const there = adaptersOf(deployment);
  const options = (keys.data?.keys ?? []).map((key) => ({ value: key.name, label: key.display_name || key.prefix }));
  return (
    <FormDrawer<Values>
      open={open}
      onClose={onClose}
      title={t("adapter.addTitle", { what: lastPart(deployment.name) })}
      lead={t("adapter.addLead")}
      submitText={t("adapter.add")}
      initialValues={{ keys: [] }}
      onSubmit={async ({ id, variant, keys: bound }) => {
        await set.mutateAsync([...there.filter((one) => one.id !== id), { id, variant, keys: bound }]);
        message.success(t("adapter.changed"));
      }}
    >
      <Form.Item
        name="id"
        required
        label={t("adapter.name")}
        extra={t("adapter.nameHint")}
        rules={[{ required: true }]}
      >
        <Input maxLength={63} />
      </Form.Item>
      <Form.Item name="variant" required label={t("adapter.variant")} rules={[{ required: true }]}>
        <AdapterPicker />
      </Form.Item>
      <Form.Item name="keys" label={t("adapter.keys")} extra={t("adapter.keysHint")}>
        <Select mode="multiple" options={options} loading={keys.isPending} />
      </Form.Item>
    </FormDrawer>
  );
}

function useKeys() {
  return useList<"keys", ApiKey>(`/projects/${useProject()}/keys`, { page_size: 200 });
}

function useSetAdapters(deployment: Deployment) {
  return useChange(OWNERS, (adapters: Pick<Adapter, "id" | "variant" | "keys">[]) =>
    post<Deployment>(`/${deployment.name}:setAdapters`, { adapters, etag: deployment.etag }),
  );
}

/** Those of its newest target that serves. */
function adaptersOf(deployment: Deployment): Adapter[] {
  return deployment.targets.filter((one) => one.weight_percent > 0).at(-1)?.adapters ?? [];
}
