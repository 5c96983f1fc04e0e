import { Form, Input, Select } from "antd";
import { useEffect, useState } from "react";
import { useNavigate } from "react-router";
import { post } from "@/api/client";
import { lastPart, requestId, shortName } from "@/api/names";
import { useChange, useList, useProject } from "@/api/queries";
import type { Evaluation, Suite, Verdict } from "@/api/types";
import { useI18n } from "@/i18n";
import { FormDrawer, More } from "@/ui/FormDrawer";
import { IdField } from "@/ui/IdField";
import { NumberInput } from "@/ui/NumberInput";
import { DatasetVersionPicker, SuitePicker, VariantPicker } from "@/ui/Pickers";
import { useMessage } from "@/ui/useMessage";
import { GateRules, type RuleValues, toRule, USUAL_RULES } from "./GateRules";

interface Opened {
  open: boolean;
  onClose: () => void;
}

/** A request id for each time that a form is opened. */
function useRequest(open: boolean): string {
  const [request, setRequest] = useState(requestId);
  useEffect(() => {
    if (open) setRequest(requestId());
  }, [open]);
  return request;
}

export function EvaluateDrawer({ open, onClose }: Opened) {
  const { t } = useI18n();
  const message = useMessage();
  const navigate = useNavigate();
  const project = useProject();
  const request = useRequest(open);
  const needed = [{ required: true, message: t("form.required") }];
  const start = useChange(
    ["evaluation", "gpu_scheduler"],
    (values: { variant: string; suite: string; display_name?: string }) =>
      post<Evaluation>(`/projects/${project}/evaluations`, { ...values, request_id: request }),
  );
  return (
    <FormDrawer<{ variant: string; suite: string; display_name?: string }>
      open={open}
      onClose={onClose}
      title={t("evaluations.startTitle")}
      lead={t("evaluations.startLead")}
      submitText={t("action.start")}
      onSubmit={async (values) => {
        const made = await start.mutateAsync(values);
        message.success(t("evaluations.started", { n: made.number }));
        navigate(`/p/${project}/evaluations/${lastPart(made.name)}`);
      }}
    >
      <Form.Item name="variant" label={t("models.variant")} rules={needed}>
        <VariantPicker />
      </Form.Item>
      <Form.Item name="suite" label={t("evaluations.suite")} rules={needed}>
        <SuitePicker />
      </Form.Item>
      <Form.Item name="display_name" label={t("form.name")}>
        <Input maxLength={120} />
      </Form.Item>
    </FormDrawer>
  );
}

interface SuiteValues {
  display_name: string;
  suite_id: string;
  dataset_version: string;
  split: Suite["split"];
  kind: "KIND_JSON_FIELDS" | "KIND_EXACT_TEXT";
  exact_fields?: string[];
  text_field?: string;
  max_tokens: number;
  max_rows: number;
}

export function SuiteDrawer({ open, onClose }: Opened) {
  const { t, word } = useI18n();
  const message = useMessage();
  const project = useProject();
  const request = useRequest(open);
  const [form] = Form.useForm<SuiteValues>();
  const kind = Form.useWatch("kind", form);
  const needed = [{ required: true, message: t("form.required") }];
  const create = useChange(["evaluation"], ({ kind: how, exact_fields, text_field, ...values }: SuiteValues) =>
    post<Suite>(`/projects/${project}/suites`, {
      ...values,
      scorer: { kind: how, exact_fields, text_field },
      request_id: request,
    }),
  );
  return (
    <FormDrawer<SuiteValues>
      open={open}
      onClose={onClose}
      form={form}
      title={t("suites.new")}
      lead={t("suites.lead")}
      submitText={t("action.create")}
      initialValues={{ split: "SPLIT_TEST", kind: "KIND_JSON_FIELDS", max_tokens: 128, max_rows: 0 }}
      onSubmit={async (values) => {
        await create.mutateAsync(values);
        message.success(t("suites.created", { what: values.display_name }));
      }}
    >
      <Form.Item name="display_name" label={t("form.name")} rules={needed}>
        <Input maxLength={120} />
      </Form.Item>
      <IdField name="suite_id" from="display_name" />
      <Form.Item name="dataset_version" label={t("run.datasets")} rules={needed}>
        <DatasetVersionPicker />
      </Form.Item>
      <Form.Item name="kind" required label={t("suites.scorer")}>
        <Select
          options={["JSON_FIELDS", "EXACT_TEXT"].map((one) => ({ value: `KIND_${one}`, label: word("scorer", one) }))}
        />
      </Form.Item>
      {kind === "KIND_JSON_FIELDS" && (
        <div className="form-grid">
          <Form.Item
            name="exact_fields"
            label={t("suites.exactFields")}
            rules={needed}
            tooltip={t("suites.exactFieldsHint")}
          >
            <Select mode="tags" open={false} suffixIcon={null} tokenSeparators={[",", " "]} />
          </Form.Item>
          <Form.Item name="text_field" label={t("suites.textField")} tooltip={t("suites.textFieldHint")}>
            <Input className="mono" />
          </Form.Item>
        </div>
      )}
      <More title={t("form.more")}>
        <div className="form-grid">
          <Form.Item name="split" required label={t("dataset.split")}>
            <Select options={["TEST", "TRAIN"].map((one) => ({ value: `SPLIT_${one}`, label: word("split", one) }))} />
          </Form.Item>
          <Form.Item name="max_tokens" required label={t("suites.maxTokens")}>
            <NumberInput min={1} max={4096} precision={0} />
          </Form.Item>
          <Form.Item name="max_rows" required label={t("suites.maxRows")} tooltip={t("suites.maxRowsHint")}>
            <NumberInput min={0} precision={0} />
          </Form.Item>
        </div>
      </More>
    </FormDrawer>
  );
}

interface JudgeValues {
  candidate: string;
  baseline: string;
  rules: RuleValues[];
}

export function JudgeDrawer({ open, onClose }: Opened) {
  const { t } = useI18n();
  const message = useMessage();
  const project = useProject();
  const request = useRequest(open);
  const needed = [{ required: true, message: t("form.required") }];
  const judge = useChange(["evaluation"], ({ rules, ...values }: JudgeValues) =>
    post<Verdict>(`/projects/${project}/verdicts`, { ...values, rules: rules.map(toRule), request_id: request }),
  );
  return (
    <FormDrawer<JudgeValues>
      open={open}
      onClose={onClose}
      title={t("verdicts.newTitle")}
      lead={t("verdicts.lead")}
      submitText={t("verdicts.judge")}
      initialValues={{ rules: USUAL_RULES }}
      onSubmit={async (values) => {
        const verdict = await judge.mutateAsync(values);
        if (verdict.state === "STATE_PASSED") message.success(t("verdicts.passed"));
        else message.warning(t("verdicts.refused"));
      }}
    >
      <Form.Item name="candidate" label={t("verdicts.candidate")} rules={needed}>
        <EvaluationPicker />
      </Form.Item>
      <Form.Item name="baseline" label={t("verdicts.baseline")} rules={needed}>
        <EvaluationPicker />
      </Form.Item>
      <GateRules name="rules" />
    </FormDrawer>
  );
}

function EvaluationPicker(field: { id?: string; value?: string; onChange?: (value: string) => void }) {
  const { t } = useI18n();
  const project = useProject();
  const done = useList<"evaluations", Evaluation>(`/projects/${project}/evaluations`, {
    filter: "state=SUCCEEDED",
    page_size: 200,
  });
  const options = (done.data?.evaluations ?? []).map((one) => ({
    value: one.name,
    label: `${one.number} · ${shortName(one.variant)} · ${lastPart(one.suite)}`,
  }));
  return (
    <Select
      {...field}
      showSearch={{ optionFilterProp: "label" }}
      options={options}
      loading={done.isPending}
      placeholder={t("picker.choose")}
      notFoundContent={t("picker.none")}
    />
  );
}
