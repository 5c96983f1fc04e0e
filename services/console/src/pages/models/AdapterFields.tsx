import { Form, Input, Select } from "antd";
import { lastPart } from "@/api/names";
import { useList } from "@/api/queries";
import type { Model, ModelVersion } from "@/api/types";
import { useI18n } from "@/i18n";

/** What an adapter is for: it becomes a variant of that version. */
export function AdapterFields({ model }: { model: Model | null }) {
  const { t } = useI18n();
  return model ? <Base model={model} /> : <p className="second">{t("parts.adapterNeedsModel")}</p>;
}

function Base({ model }: { model: Model }) {
  const { t } = useI18n();
  const list = useList<"versions", ModelVersion>(`/${model.name}/versions`, { filter: "state=READY", page_size: 100 });
  const options = (list.data?.versions ?? []).map((version) => ({
    value: version.name,
    label: t("dataset.version", { n: lastPart(version.name) }),
  }));
  return (
    <div className="form-grid">
      <Form.Item name="base" label={t("parts.adapterOf")} rules={[{ required: true, message: t("form.required") }]}>
        <Select options={options} loading={list.isPending} />
      </Form.Item>
      <Form.Item name="variant_id" label={t("parts.adapterId")}>
        <Input maxLength={63} placeholder="adapter" className="mono" />
      </Form.Item>
    </div>
  );
}
