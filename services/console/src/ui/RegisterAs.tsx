import { AutoComplete, Form } from "antd";
import { ApiError, post } from "@/api/client";
import { lastPart } from "@/api/names";
import { useList, useProject } from "@/api/queries";
import type { Model } from "@/api/types";
import { useI18n } from "@/i18n";
import { useClear } from "@/ui/useClear";

/** The model that gets the result as a version: one that is there, or a new name. */
export function ModelNameField({ name, required = false }: { name: string | string[]; required?: boolean }) {
  const { t } = useI18n();
  const clear = useClear();
  const project = useProject();
  const models = useList<"models", Model>(`/projects/${project}/models`, { page_size: 200 }).data?.models ?? [];
  return (
    <Form.Item
      name={name}
      label={t("runs.registerAs")}
      extra={t("runs.registerAsHint")}
      rules={[
        { required, message: t("form.required") },
        { pattern: /^[a-z0-9](?:[a-z0-9.-]{0,61}[a-z0-9])?$/, message: t("form.idRule") },
      ]}
    >
      <AutoComplete
        options={models.map((model) => ({
          value: lastPart(model.name),
          label: model.display_name || lastPart(model.name),
        }))}
        allowClear={clear}
        showSearch={{ filterOption: true }}
      />
    </Form.Item>
  );
}

/** Makes sure that there is a model of that name to register under. */
export async function ensureModel(project: string, id: string | undefined): Promise<void> {
  if (!id) return;
  try {
    await post(`/projects/${project}/models`, { model_id: id, request_id: `console-${id}` });
  } catch (error) {
    if (!(error instanceof ApiError && error.status === 409)) throw error;
  }
}
