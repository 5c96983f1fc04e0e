import { Form, Select } from "antd";
import { useEffect, useState } from "react";
import { post } from "@/api/client";
import { requestId } from "@/api/names";
import { useChange, useProject } from "@/api/queries";
import type { Comparison, ModelVersion } from "@/api/types";
import { useI18n } from "@/i18n";
import { FormDrawer, More } from "@/ui/FormDrawer";
import { NumberInput } from "@/ui/NumberInput";
import { DatasetVersionPicker, SuitePicker } from "@/ui/Pickers";
import { useMessage } from "@/ui/useMessage";
import { FOR_VLLM, GGUF, needsCalibration } from "./quantisations";

interface Values {
  suite: string;
  points: number;
  quantisations: string[];
  calibration?: string;
  metric: string;
}

/** Nothing that is served may get more than five points worse. */
const USUAL = { points: 5, metric: "exact", quantisations: GGUF.slice(1) };

export function CompareDrawer({
  version,
  open,
  onClose,
}: {
  version: ModelVersion;
  open: boolean;
  onClose: () => void;
}) {
  const { t, word } = useI18n();
  const message = useMessage();
  const project = useProject();
  const [form] = Form.useForm<Values>();
  const isNeeded = (Form.useWatch("quantisations", form) ?? []).some(needsCalibration);
  const [request, setRequest] = useState(requestId);
  useEffect(() => {
    if (open) setRequest(requestId());
  }, [open]);
  const start = useChange(["evaluation", "model_registry", "gpu_scheduler"], ({ points, ...values }: Values) =>
    post<Comparison>(`/projects/${project}/comparisons`, {
      ...values,
      version: version.name,
      margin: points / 100,
      request_id: request,
    }),
  );
  const needed = [{ required: true, message: t("form.required") }];
  return (
    <FormDrawer<Values>
      open={open}
      onClose={onClose}
      form={form}
      title={t("quantisations.compareTitle")}
      lead={t("quantisations.compareLead")}
      submitText={t("action.start")}
      initialValues={USUAL}
      onSubmit={async (values) => {
        const made = await start.mutateAsync(values);
        message.success(t("quantisations.started", { n: made.number }));
      }}
    >
      <Form.Item name="suite" label={t("evaluations.suite")} rules={needed}>
        <SuitePicker />
      </Form.Item>
      <Form.Item name="points" label={t("quantisations.margin")} extra={t("quantisations.marginHint")} rules={needed}>
        <NumberInput min={0} max={100} />
      </Form.Item>
      <Form.Item
        name="quantisations"
        label={t("quantisations.chosen")}
        extra={t("quantisations.chosenHint")}
        rules={[{ required: true, type: "array", min: 1, message: t("form.required") }]}
      >
        <Select
          mode="multiple"
          options={[
            { label: t("engine.LLAMA_CPP"), options: asOptions(GGUF.slice(1)) },
            { label: t("models.forVllm"), options: asOptions(FOR_VLLM) },
          ]}
        />
      </Form.Item>
      <Form.Item
        name="calibration"
        label={t("quantisations.calibration")}
        extra={t("quantisations.calibrationHint")}
        rules={isNeeded ? needed : []}
      >
        <DatasetVersionPicker allowClear />
      </Form.Item>
      <More title={t("form.more")}>
        <Form.Item name="metric" label={t("verdicts.metric")}>
          <Select options={["exact", "valid_json", "text"].map((value) => ({ value, label: word("metric", value) }))} />
        </Form.Item>
      </More>
    </FormDrawer>
  );
}

function asOptions(quantisations: string[]) {
  return quantisations.map((value) => ({ value, label: value }));
}
