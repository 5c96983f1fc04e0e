import { Form, Input } from "antd";
import { useEffect, useState } from "react";
import { post } from "@/api/client";
import { lastPart, partOf, requestId } from "@/api/names";
import { useChange, useProject } from "@/api/queries";
import type { InferenceBatch } from "@/api/types";
import { useI18n } from "@/i18n";
import { FormDrawer, More } from "@/ui/FormDrawer";
import { IdField } from "@/ui/IdField";
import { NumberInput } from "@/ui/NumberInput";
import { DatasetVersionPicker, DeploymentPicker } from "@/ui/Pickers";
import { useMessage } from "@/ui/useMessage";

interface Values {
  source_version: string;
  deployment: string;
  result_dataset: string;
  system?: string;
  max_tokens?: number;
  temperature?: number;
  hours: number;
  display_name?: string;
}

/** Every row of a data set version is asked; the answers become a version of another data set. */
export function NewBatchDrawer({ open, onClose }: { open: boolean; onClose: () => void }) {
  const { t } = useI18n();
  const message = useMessage();
  const project = useProject();
  const [form] = Form.useForm<Values>();
  const [request, setRequest] = useState(requestId);
  useEffect(() => {
    if (open) setRequest(requestId());
  }, [open]);
  const start = useChange(["inference_gateway", "dataset"], ({ deployment, hours, ...values }: Values) =>
    post<InferenceBatch>(`/projects/${project}/inference-batches`, {
      ...values,
      model: lastPart(deployment),
      completion_window: `${hours * 3600}s`,
      request_id: request,
    }),
  );
  const needed = [{ required: true, message: t("form.required") }];
  const follow = (version: unknown) => {
    const dataset = typeof version === "string" ? partOf(version, "datasets") : "";
    if (dataset && !form.isFieldTouched("result_dataset"))
      form.setFieldValue("result_dataset", `${dataset.slice(0, 56)}-answers`);
  };
  return (
    <FormDrawer<Values>
      open={open}
      onClose={onClose}
      form={form}
      title={t("inference.new")}
      lead={t("inference.newLead")}
      submitText={t("action.start")}
      initialValues={{ hours: 24 }}
      onSubmit={async (values) => {
        const made = await start.mutateAsync(values);
        message.success(t("inference.started", { n: made.number }));
      }}
    >
      <Form.Item name="source_version" label={t("inference.source")} rules={needed}>
        <DatasetVersionPicker onChange={follow} />
      </Form.Item>
      <Form.Item name="deployment" label={t("playground.deployment")} rules={needed}>
        <DeploymentPicker />
      </Form.Item>
      <IdField name="result_dataset" label={t("inference.into")} />
      <Form.Item name="system" label={t("playground.system")} extra={t("inference.systemHint")}>
        <Input.TextArea autoSize={{ minRows: 2, maxRows: 8 }} maxLength={100_000} />
      </Form.Item>
      <More title={t("form.more")}>
        <Form.Item name="max_tokens" label={t("inference.maxTokens")}>
          <NumberInput min={1} max={1_000_000} precision={0} />
        </Form.Item>
        <Form.Item name="temperature" label={t("playground.temperature")}>
          <NumberInput min={0} max={2} step={0.1} />
        </Form.Item>
        <Form.Item name="hours" label={t("inference.hours")} extra={t("inference.hoursHint")} rules={needed}>
          <NumberInput min={1} max={720} precision={0} />
        </Form.Item>
        <Form.Item name="display_name" label={t("form.name")}>
          <Input maxLength={120} />
        </Form.Item>
      </More>
    </FormDrawer>
  );
}
