import { Button, Form, Input, Modal, Select } from "antd";
import { useEffect, useState } from "react";
import { post } from "@/api/client";
import { bare, lastPart, requestId } from "@/api/names";
import { useChange, useGet, useMay, useProject } from "@/api/queries";
import type { ApiKey, ProjectSpending, Role } from "@/api/types";
import { useI18n } from "@/i18n";
import { Empty } from "@/ui/Empty";
import { FormDrawer, More } from "@/ui/FormDrawer";
import { Copyable } from "@/ui/Id";
import { ResourceTable } from "@/ui/ResourceTable";
import { State } from "@/ui/State";
import { useConfirm } from "@/ui/useConfirm";
import { useMessage } from "@/ui/useMessage";
import { Time } from "@/ui/values";
import { LimitFields, LimitsDrawer, Spent } from "./Budget";
import { bodyOf, type LimitValues } from "./limits";

const ROLES = ["VIEWER", "REVIEWER", "ENGINEER", "ADMIN"] as const;

export function Keys({ creating, onClose }: { creating: boolean; onClose: () => void }) {
  const { t, word } = useI18n();
  const project = useProject();
  const isAdmin = useMay("ADMIN");
  const confirm = useConfirm();
  const [secret, setSecret] = useState("");
  const [limiting, setLimiting] = useState<ApiKey | null>(null);
  const spending = useGet<ProjectSpending>(`/projects/${project}/spending`, {}, { refetchInterval: 5000 });
  const spent = new Map(spending.data?.keys.map((each) => [each.name, each]));
  const revoke = useChange(["api_gateway"], (key: ApiKey) => post(`/${key.name}:revoke`, { etag: key.etag }));
  const askToRevoke = (key: ApiKey) =>
    confirm({
      title: t("keys.revokeTitle", { what: key.display_name || key.prefix }),
      hint: t("keys.revokeHint"),
      confirm: t("keys.revoke"),
      danger: true,
      done: t("keys.revoked"),
      act: () => revoke.mutateAsync(key),
    });
  return (
    <>
      <ResourceTable<ApiKey>
        path={`/projects/${project}/keys`}
        field="keys"
        rowKey={(key) => key.name}
        empty={<Empty title={t("keys.empty")} />}
        columns={[
          { key: "prefix", title: t("keys.key"), render: (key) => <span className="mono">{key.prefix}…</span> },
          {
            key: "name",
            title: t("column.name"),
            sort: "display_name",
            render: (key) => key.display_name || lastPart(key.name),
          },
          { key: "role", title: t("keys.role"), sort: "role", render: (key) => word("role", bare(key.role)) },
          {
            key: "spent",
            title: t("budget.spent"),
            render: (key) => <Spent of={key} spending={spent.get(key.name)} />,
          },
          { key: "status", title: t("column.status"), sort: "state", render: (key) => <State value={key.state} /> },
          {
            key: "created",
            title: t("column.created"),
            sort: "create_time",
            render: (key) => <Time value={key.create_time} />,
          },
          {
            key: "expires",
            title: t("keys.expires"),
            render: (key) => (key.expire_time ? <Time value={key.expire_time} /> : t("keys.never")),
          },
          {
            key: "actions",
            title: t("column.actions"),
            render: (key) =>
              isAdmin &&
              bare(key.state) === "ACTIVE" && (
                <>
                  <Button type="link" size="small" onClick={() => setLimiting(key)}>
                    {t("budget.change")}
                  </Button>
                  <Button type="link" danger size="small" onClick={() => askToRevoke(key)}>
                    {t("keys.revoke")}
                  </Button>
                </>
              ),
          },
        ]}
      />
      <CreateKeyDrawer open={creating} onClose={onClose} onCreated={setSecret} />
      <LimitsDrawer
        of={limiting}
        title={t("budget.changeOf", { what: limiting?.display_name || limiting?.prefix || "" })}
        onClose={() => setLimiting(null)}
      />
      <SecretOnce secret={secret} onClose={() => setSecret("")} />
    </>
  );
}

interface Values extends LimitValues {
  display_name: string;
  role: Role;
  expires?: string;
}

function CreateKeyDrawer({
  open,
  onClose,
  onCreated,
}: {
  open: boolean;
  onClose: () => void;
  onCreated: (secret: string) => void;
}) {
  const { t, word } = useI18n();
  const project = useProject();
  const [request, setRequest] = useState(requestId);
  useEffect(() => {
    if (open) setRequest(requestId());
  }, [open]);
  const create = useChange(["api_gateway"], ({ display_name, role, expires, ...limits }: Values) =>
    post<ApiKey>(`/projects/${project}/keys`, {
      display_name,
      role,
      ...bodyOf({ ...limits, budget_period: limits.budget_period ?? "BUDGET_PERIOD_MONTH" }),
      ...(expires && { expire_time: new Date(`${expires}T00:00`).toISOString() }),
      request_id: request,
    }),
  );
  return (
    <FormDrawer<Values>
      open={open}
      onClose={onClose}
      title={t("keys.new")}
      submitText={t("action.create")}
      initialValues={{ role: "ROLE_VIEWER", budget_period: "BUDGET_PERIOD_MONTH" }}
      onSubmit={async (values) => onCreated((await create.mutateAsync(values)).secret)}
    >
      <Form.Item
        name="display_name"
        label={t("form.name")}
        extra={t("keys.nameHint")}
        rules={[{ required: true, message: t("form.required") }]}
      >
        <Input maxLength={120} />
      </Form.Item>
      <Form.Item name="role" label={t("keys.role")} rules={[{ required: true }]}>
        <Select
          options={ROLES.map((role) => ({
            value: `ROLE_${role}`,
            label: word("role", role),
            hint: word("roleHint", role),
          }))}
          optionRender={({ data }) => (
            <div>
              {data.label}
              <span className="choice-hint">{data.hint}</span>
            </div>
          )}
        />
      </Form.Item>
      <Form.Item name="expires" label={t("keys.expires")} extra={t("keys.expiresHint")}>
        <Input type="date" style={{ width: 200 }} />
      </Form.Item>
      <More title={t("budget.title")}>
        <LimitFields />
      </More>
    </FormDrawer>
  );
}

function SecretOnce({ secret, onClose }: { secret: string; onClose: () => void }) {
  const { t } = useI18n();
  const message = useMessage();
  const copyAndClose = () =>
    navigator.clipboard.writeText(secret).then(() => {
      message.success(t("copy.done"));
      onClose();
    });
  return (
    <Modal
      open={secret !== ""}
      title={t("keys.secretTitle")}
      mask={{ closable: false }}
      onCancel={onClose}
      onOk={copyAndClose}
      okText={t("keys.copyAndClose")}
      cancelText={t("action.close")}
    >
      <p className="second" style={{ marginBottom: 12 }}>
        {t("keys.secretHint")}
      </p>
      <div className="answer-box" data-secret>
        <Copyable value={secret} />
      </div>
    </Modal>
  );
}
