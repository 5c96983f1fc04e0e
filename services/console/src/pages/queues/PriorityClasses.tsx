import { PlusOutlined } from "@ant-design/icons";
import { Form, Input } from "antd";
import { useState } from "react";
import { patch, post, remove } from "@/api/client";
import { lastPart } from "@/api/names";
import { useChange } from "@/api/queries";
import type { PriorityClass } from "@/api/types";
import { useI18n } from "@/i18n";
import { Empty } from "@/ui/Empty";
import { FormDrawer } from "@/ui/FormDrawer";
import { IdField } from "@/ui/IdField";
import { NumberInput } from "@/ui/NumberInput";
import { type Column, ResourceTable } from "@/ui/ResourceTable";
import { useConfirm } from "@/ui/useConfirm";
import { Nothing, Num } from "@/ui/values";
import { EditAndDelete, OperatorButton } from "./operator";

/** As the scheduler bounds them. */
const MOST = 1_000_000_000;
const LONGEST = 500;
/** Milliseconds: who uses a class changes without an event. */
const REFRESH = 10_000;

/** Priorities that have a name, the same for all projects; operators make, change and delete them. */
export function PriorityClasses() {
  const { t } = useI18n();
  const [edited, setEdited] = useState<Partial<PriorityClass> | null>(null);
  return (
    <>
      <ResourceTable<PriorityClass>
        id="class"
        path="/priority-classes"
        field="priority_classes"
        rowKey={(one) => one.name}
        refetchInterval={REFRESH}
        columns={useColumns(setEdited)}
        tools={
          <>
            <strong style={{ order: -1, marginRight: 8 }}>{t("priority.title")}</strong>
            <OperatorButton icon={<PlusOutlined aria-hidden />} onClick={() => setEdited({})}>
              {t("priority.new")}
            </OperatorButton>
          </>
        }
        empty={<Empty title={t("priority.empty")} hint={t("priority.emptyHint")} />}
      />
      <PriorityClassDrawer of={edited} onClose={() => setEdited(null)} />
    </>
  );
}

function useColumns(onEdit: (of: PriorityClass) => void): Column<PriorityClass>[] {
  const { t } = useI18n();
  return [
    {
      key: "name",
      title: t("column.name"),
      sort: "name",
      render: (one) => <span translate="no">{lastPart(one.name)}</span>,
    },
    {
      key: "value",
      title: t("priority.value"),
      sort: "value",
      align: "right",
      render: (one) => <Num value={one.value} />,
    },
    {
      key: "description",
      title: t("priority.description"),
      render: (one) => (one.description ? <span translate="no">{one.description}</span> : <Nothing />),
    },
    {
      key: "waiting",
      title: t("queues.waiting"),
      align: "right",
      render: (one) => <Num value={one.pending_count} />,
    },
    {
      key: "admitted",
      title: t("queues.admitted"),
      align: "right",
      render: (one) => <Num value={one.admitted_count} />,
    },
    {
      key: "actions",
      title: t("column.actions"),
      render: (one) => <Actions of={one} onEdit={() => onEdit(one)} />,
    },
  ];
}

function Actions({ of, onEdit }: { of: PriorityClass; onEdit: () => void }) {
  const { t } = useI18n();
  const confirm = useConfirm();
  const what = lastPart(of.name);
  const used = of.pending_count + of.admitted_count;
  const drop = useChange(["gpu_scheduler"], () => remove(`/priority-classes/${what}?etag=${of.etag}`));
  const ask = () =>
    confirm({
      title: t("delete.title", { what }),
      hint: [used > 0 && t("priority.inUse", { n: used }), t("priority.deleteHint")].filter(Boolean).join(" "),
      confirm: t("action.delete"),
      danger: true,
      done: t("delete.done", { what }),
      act: () => drop.mutateAsync(undefined),
    });
  return <EditAndDelete what={what} onEdit={onEdit} onDelete={ask} />;
}

interface Values {
  priority_class_id?: string;
  value: number;
  description?: string;
}

/** Makes a class, or changes `of` where that has a name; closed while there is none. */
function PriorityClassDrawer({ of, onClose }: { of: Partial<PriorityClass> | null; onClose: () => void }) {
  const { t } = useI18n();
  const change = useChange(["gpu_scheduler"], ({ priority_class_id, value, description = "" }: Values) =>
    of?.name
      ? patch(`/priority-classes/${lastPart(of.name)}`, { value, description, etag: of.etag })
      : post("/priority-classes", { priority_class_id, priority_class: { value, description } }),
  );
  return (
    <FormDrawer<Values>
      open={of !== null}
      onClose={onClose}
      title={of?.name ? t("quotas.edit", { what: lastPart(of.name) }) : t("priority.new")}
      lead={of?.name ? t("priority.changeHint") : undefined}
      submitText={of?.name ? t("action.save") : t("action.create")}
      initialValues={{ value: of?.value, description: of?.description }}
      onSubmit={(values) => change.mutateAsync(values)}
    >
      {!of?.name && <IdField name="priority_class_id" />}
      <Form.Item
        name="value"
        label={t("priority.value")}
        extra={t("priority.valueHint")}
        rules={[{ required: true, message: t("form.required") }]}
      >
        <NumberInput min={-MOST} max={MOST} precision={0} style={{ width: 200 }} />
      </Form.Item>
      <Form.Item name="description" label={t("priority.description")}>
        <Input.TextArea maxLength={LONGEST} rows={3} />
      </Form.Item>
    </FormDrawer>
  );
}
