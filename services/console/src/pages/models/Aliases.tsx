import { SwapOutlined } from "@ant-design/icons";
import { Button, Form, Input, Select, Table } from "antd";
import { useState } from "react";
import { post } from "@/api/client";
import { lastPart, partOf, shortName, variantLabel } from "@/api/names";
import { useChange, useList, useMay, useProject } from "@/api/queries";
import type { Alias, AliasMove, Model, ModelVersion, Verdict } from "@/api/types";
import { useI18n } from "@/i18n";
import { Actor } from "@/ui/Actor";
import { Empty } from "@/ui/Empty";
import { FormDrawer } from "@/ui/FormDrawer";
import { Ref } from "@/ui/Id";
import { Panel } from "@/ui/Page";
import { Trouble } from "@/ui/Trouble";
import { useClear } from "@/ui/useClear";
import { useMessage } from "@/ui/useMessage";
import { Nothing, Time } from "@/ui/values";

export function Aliases({ model, versions }: { model: Model; versions: ModelVersion[] }) {
  const { t } = useI18n();
  const mayMove = useMay("ENGINEER");
  const [moving, setMoving] = useState<Alias | "new" | null>(null);
  const list = useList<"aliases", Alias>(`/${model.name}/aliases`);
  const aliases = list.data?.aliases ?? [];
  const add = mayMove && (
    <Button size="small" onClick={() => setMoving("new")}>
      {t("alias.add")}
    </Button>
  );
  return (
    <div className="stack">
      {list.isError && <Trouble error={list.error} retry={() => list.refetch()} />}
      {list.isSuccess && !aliases.length && (
        <Panel>
          <Empty title={t("alias.empty")} hint={t("alias.emptyHint")} action={add} />
        </Panel>
      )}
      {aliases.map((alias) => (
        <Panel
          key={alias.name}
          title={lastPart(alias.name)}
          flush
          extra={
            <>
              <span>
                → <Ref name={alias.version} />{" "}
                {alias.variant && <span className="mono quiet">{variantLabel(lastPart(alias.variant))}</span>}
              </span>
              {alias.gated && <span className="chip wait">{t("alias.gated")}</span>}
              {mayMove && (
                <Button size="small" icon={<SwapOutlined aria-hidden />} onClick={() => setMoving(alias)}>
                  {t("alias.move")}
                </Button>
              )}
            </>
          }
        >
          <Moves alias={alias} />
        </Panel>
      ))}
      {aliases.length > 0 && <div>{add}</div>}
      <MoveDrawer model={model} versions={versions} alias={moving} onClose={() => setMoving(null)} />
    </div>
  );
}

function Moves({ alias }: { alias: Alias }) {
  const { t } = useI18n();
  const moves = useList<"moves", AliasMove>(`/${alias.name}/moves`);
  return (
    <Table<AliasMove>
      size="small"
      rowKey="name"
      loading={moves.isPending}
      dataSource={moves.data?.moves ?? []}
      pagination={false}
      scroll={{ x: "max-content" }}
      columns={[
        { title: t("alias.when"), render: (_, move) => <Time value={move.move_time} /> },
        {
          title: t("alias.from"),
          render: (_, move) => (move.from_version ? <Ref name={move.from_version} /> : <Nothing />),
        },
        { title: t("alias.to"), render: (_, move) => <Ref name={move.to_variant || move.to_version} /> },
        {
          title: t("alias.verdict"),
          render: (_, move) => (move.verdict ? <span className="chip ok">{t("state.PASSED")}</span> : <Nothing />),
        },
        { title: t("alias.by"), render: (_, move) => <Actor value={move.moved_by} /> },
      ]}
    />
  );
}

interface Values {
  alias: string;
  version: string;
  variant?: string;
  verdict?: string;
}

function MoveDrawer({
  model,
  versions,
  alias,
  onClose,
}: {
  model: Model;
  versions: ModelVersion[];
  alias: Alias | "new" | null;
  onClose: () => void;
}) {
  const { t } = useI18n();
  const message = useMessage();
  const project = useProject();
  const [form] = Form.useForm<Values>();
  const chosen = Form.useWatch("version", form);
  const existing = alias === "new" ? null : alias;
  const verdicts = useList<"verdicts", Verdict>(
    `/projects/${project}/verdicts`,
    { filter: "state=PASSED", page_size: 100 },
    { enabled: existing?.gated ?? false },
  );
  const clear = useClear();
  const move = useChange(["model_registry"], ({ alias: id, ...body }: Values) =>
    post<Alias>(`/${model.name}/aliases/${existing ? lastPart(existing.name) : id}:move`, {
      ...body,
      etag: existing?.etag,
    }),
  );
  const ready = versions.filter((version) => version.state === "STATE_READY");
  const variants = ready.find((version) => version.name === chosen)?.variants ?? [];
  return (
    <FormDrawer<Values>
      open={alias !== null}
      onClose={onClose}
      form={form}
      title={existing ? t("alias.moveTitle", { alias: lastPart(existing.name) }) : t("alias.add")}
      submitText={existing ? t("alias.move") : t("action.create")}
      onSubmit={async (values) => {
        await move.mutateAsync(values);
        message.success(
          t("alias.moved", {
            alias: existing ? lastPart(existing.name) : values.alias,
            version: shortName(values.version),
          }),
        );
      }}
    >
      {!existing && (
        <Form.Item
          name="alias"
          label={t("form.name")}
          rules={[{ required: true, pattern: /^[a-z0-9][a-z0-9-]*$/, message: t("form.idRule") }]}
        >
          <Input placeholder="production" className="mono" />
        </Form.Item>
      )}
      <Form.Item name="version" label={t("column.version")} rules={[{ required: true, message: t("form.required") }]}>
        <Select
          options={ready.map((version) => ({
            value: version.name,
            label: t("dataset.version", { n: Number(partOf(version.name, "versions")) }),
          }))}
        />
      </Form.Item>
      <Form.Item
        name="variant"
        label={t("models.variant")}
        rules={[{ required: existing?.gated ?? false, message: t("form.required") }]}
      >
        <Select
          allowClear={clear}
          options={variants.map((variant) => ({ value: variant, label: variantLabel(lastPart(variant)) }))}
        />
      </Form.Item>
      {existing?.gated && (
        <Form.Item
          name="verdict"
          label={t("alias.verdict")}
          extra={t("alias.gatedHint")}
          rules={[{ required: true, message: t("form.required") }]}
        >
          <Select
            options={(verdicts.data?.verdicts ?? []).map((verdict) => ({
              value: verdict.name,
              label: `${verdict.number} · ${shortName(verdict.candidate_variant)}`,
            }))}
          />
        </Form.Item>
      )}
    </FormDrawer>
  );
}
