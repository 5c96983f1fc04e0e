import { Form, Input, Segmented, Select } from "antd";
import { useEffect, useState } from "react";
import { ApiError, get, post } from "@/api/client";
import { bare, lastPart, partOf, requestId } from "@/api/names";
import { useChange, useProject } from "@/api/queries";
import type { Comparison, Dataset, DatasetVersion, Suite } from "@/api/types";
import { upload } from "@/api/upload";
import { useI18n } from "@/i18n";
import { FormDrawer, More } from "@/ui/FormDrawer";
import { NumberInput } from "@/ui/NumberInput";
import { DatasetVersionPicker, ModelVersionPicker, SuitePicker } from "@/ui/Pickers";
import { useMessage } from "@/ui/useMessage";
import { MOST_ROWS, NotRows, toJsonLines } from "./fit";
import { GGUF } from "./quantisations";

interface Values {
  source: "rows" | "dataset" | "suite";
  rows?: string;
  dataset?: string;
  suite?: string;
  versions: string[];
  points: number;
  max_tokens: number;
  metric: string;
  quantisation: string;
}

const USUAL = { source: "rows", points: 5, max_tokens: 128, metric: "text", quantisation: "Q8_0" } as const;
const MOST_MODELS = 16;

/** Rows, and models to measure on them. */
export function FitDrawer({
  open,
  onClose,
  onStarted,
}: {
  open: boolean;
  onClose: () => void;
  onStarted: (comparison: string) => void;
}) {
  const { t, word } = useI18n();
  const message = useMessage();
  const project = useProject();
  const [form] = Form.useForm<Values>();
  const source = Form.useWatch("source", form);
  const [request, setRequest] = useState(requestId);
  useEffect(() => {
    if (open) setRequest(requestId());
  }, [open]);
  const start = useChange(["evaluation", "model_registry", "dataset"], (values: Values) =>
    compare(project, values, request),
  );
  const needed = [{ required: true, message: t("form.required") }];
  return (
    <FormDrawer<Values>
      open={open}
      onClose={onClose}
      form={form}
      size={560}
      title={t("fit.title")}
      lead={t("fit.drawerLead")}
      submitText={t("action.start")}
      initialValues={USUAL}
      onSubmit={async (values) => {
        const made = await start.mutateAsync(values);
        message.success(t("quantisations.started", { n: made.number }));
        onStarted(made.name);
      }}
    >
      <Form.Item name="source" label={t("fit.source")} required>
        <Segmented
          options={[
            { value: "rows", label: t("fit.source.rows") },
            { value: "dataset", label: t("fit.source.dataset") },
            { value: "suite", label: t("fit.source.suite") },
          ]}
        />
      </Form.Item>
      {source === "suite" ? (
        <Form.Item name="suite" label={t("evaluations.suite")} rules={needed}>
          <SuitePicker />
        </Form.Item>
      ) : source === "dataset" ? (
        <Form.Item name="dataset" label={t("fit.dataset")} extra={t("fit.datasetHint")} rules={needed}>
          <DatasetVersionPicker />
        </Form.Item>
      ) : (
        <Form.Item
          name="rows"
          label={t("fit.rows")}
          extra={t("fit.rowsHint", { most: MOST_ROWS })}
          rules={[
            ...needed,
            {
              validator: (_, text: string) =>
                !text || isRows(text)
                  ? Promise.resolve()
                  : Promise.reject(new Error(t("fit.notRows", { most: MOST_ROWS }))),
            },
          ]}
        >
          <Input.TextArea className="mono" autoSize={{ minRows: 5, maxRows: 12 }} />
        </Form.Item>
      )}
      <Form.Item
        name="versions"
        label={t("fit.models")}
        extra={t("fit.modelsHint")}
        rules={[{ required: true, type: "array", min: 2, max: MOST_MODELS, message: t("fit.twoModels") }]}
      >
        <ModelVersionPicker mode="multiple" />
      </Form.Item>
      <More title={t("form.more")}>
        <div className="form-grid">
          <Form.Item name="points" label={t("quantisations.margin")} tooltip={t("fit.marginHint")} rules={needed}>
            <NumberInput min={0} max={100} />
          </Form.Item>
          {source !== "suite" && (
            <Form.Item name="max_tokens" label={t("suites.maxTokens")} rules={needed}>
              <NumberInput min={1} max={4096} precision={0} />
            </Form.Item>
          )}
          <Form.Item name="metric" label={t("verdicts.metric")}>
            <Select
              options={["text", "exact", "valid_json"].map((value) => ({ value, label: word("metric", value) }))}
            />
          </Form.Item>
          <Form.Item name="quantisation" label={t("models.variant")}>
            <Select options={[...GGUF, "FP8"].map((value) => ({ value, label: value }))} />
          </Form.Item>
        </div>
      </More>
    </FormDrawer>
  );
}

function isRows(text: string): boolean {
  try {
    return toJsonLines(text) !== "";
  } catch (error) {
    if (error instanceof NotRows) return false;
    throw error;
  }
}

async function compare(project: string, values: Values, request: string): Promise<Comparison> {
  const suite = values.suite && values.source === "suite" ? values.suite : await suiteOf(project, values, request);
  return post<Comparison>(`/projects/${project}/comparisons`, {
    versions: values.versions,
    suite,
    metric: values.metric,
    quantisations: [values.quantisation],
    margin: values.points / 100,
    request_id: request,
  });
}

/** A suite over the rows; one that was made for them before is used again. */
async function suiteOf(project: string, values: Values, request: string): Promise<string> {
  const isGiven = values.source === "dataset" && values.dataset;
  const version = isGiven ? values.dataset : await importRows(project, values.rows ?? "", request);
  if (!version) throw new Error("no rows");
  const slug = `${partOf(version, "datasets").slice(0, 40)}-${lastPart(version)}-fit-${values.max_tokens}`;
  try {
    const made = await post<Suite>(`/projects/${project}/suites`, {
      suite_id: slug,
      dataset_version: version,
      scorer: { kind: "KIND_EXACT_TEXT" },
      max_tokens: values.max_tokens,
      max_rows: MOST_ROWS,
      request_id: `${request}-suite`,
    });
    return made.name;
  } catch (error) {
    if (error instanceof ApiError && error.problem.reason === "SUITE_EXISTS")
      return `projects/${project}/suites/${slug}`;
    throw error;
  }
}

const LOOK_MS = 500;
const PATIENCE_MS = 120_000;

/** A data set that is held out as a whole; returns the name of its version, which is ready. */
async function importRows(project: string, text: string, request: string): Promise<string> {
  const file = new File([toJsonLines(text)], "rows.jsonl");
  const sent = await upload(project, file, () => {}).done;
  const id = `fit-${request.replaceAll("-", "").slice(0, 12).toLowerCase()}`;
  await post<Dataset>(`/projects/${project}/datasets`, {
    dataset_id: id,
    type: "TYPE_EVALUATION",
    origin: "pasted to compare models",
    request_id: `${request}-dataset`,
  });
  let version = await post<DatasetVersion>(`/projects/${project}/datasets/${id}/versions`, {
    source_uri: sent.uri,
    row_format: sent.detected_row_format,
    file_type: sent.detected_file_type,
    request_id: `${request}-version`,
  });
  for (const began = Date.now(); bare(version.state) === "IMPORTING" && Date.now() - began < PATIENCE_MS; ) {
    await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
    version = await get<DatasetVersion>(`/${version.name}`);
  }
  if (bare(version.state) !== "READY") throw new Error(version.failure_message || bare(version.state));
  return version.name;
}
