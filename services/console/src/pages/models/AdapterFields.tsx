import { Form, Input, Select } from "antd";
import { lastPart, shortName } from "@/api/names";
import { useList, useProject } from "@/api/queries";
import type { Model, ModelVersion } from "@/api/types";
import { useI18n } from "@/i18n";

interface Props {
  model: Model | null;
  /** Whether its base can be found by what its configuration says: only where the files are here already. */
  mayFind: boolean;
}

/** What an adapter is for: it becomes a variant of that version, of `model` or of any. */
export function AdapterFields({ model, mayFind }: Props) {
  const { t } = useI18n();
  const project = useProject();
  const parent = model?.name ?? `projects/${project}/models/-`;
  const list = useList<"versions", ModelVersion>(`/${parent}/versions`, { filter: "state=READY", page_size: 100 });
  const options = (list.data?.versions ?? []).map((version) => ({
    value: version.name,
    label: model ? t("dataset.version", { n: lastPart(version.name) }) : shortName(version.name),
  }));
  const found = { value: `projects/${project}/models/-/versions/-`, label: t("parts.adapterFind") };
  return (
    <div className="form-grid">
      <Form.Item name="base" label={t("parts.adapterOf")} rules={[{ required: true, message: t("form.required") }]}>
        <Select showSearch options={mayFind && !model ? [found, ...options] : options} loading={list.isPending} />
      </Form.Item>
      <Form.Item name="variant_id" label={t("parts.adapterId")} extra={t("parts.adapterHint")}>
        <Input maxLength={63} placeholder="adapter" className="mono" />
      </Form.Item>
    </div>
  );
}
