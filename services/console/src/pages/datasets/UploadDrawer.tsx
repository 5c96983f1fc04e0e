import { Form, Input, Select } from "antd";
import { useEffect, useState } from "react";
import { useNavigate } from "react-router";
import { post } from "@/api/client";
import { lastPart, requestId } from "@/api/names";
import { useChange, useProject } from "@/api/queries";
import type { Dataset, DatasetType, DatasetVersion, Upload } from "@/api/types";
import { useI18n } from "@/i18n";
import { FormDrawer, More } from "@/ui/FormDrawer";
import { IdField } from "@/ui/IdField";
import { NumberInput } from "@/ui/NumberInput";
import { useMessage } from "@/ui/useMessage";
import { FileField } from "./FileField";

interface Values {
  file: Upload;
  display_name: string;
  dataset_id: string;
  type: DatasetType;
  licence?: string;
  origin?: string;
  language?: string;
  test_percent: number;
  seed: number;
}

const DEFAULTS = { type: "TYPE_SFT", test_percent: 20, seed: 1 } as const;
const LICENCES = ["CC0-1.0", "CC-BY-4.0", "CC-BY-SA-4.0", "CC-BY-NC-4.0", "Apache-2.0", "MIT", "ODC-By-1.0"];
const ACCEPTED = ".jsonl,.json,.csv,.parquet,.txt";

/** A new data set with its first version, or one more version of `target`. */
export function UploadDrawer({ target, onClose }: { target: Dataset | "new" | null; onClose: () => void }) {
  const { t } = useI18n();
  const message = useMessage();
  const navigate = useNavigate();
  const project = useProject();
  const [form] = Form.useForm<Values>();
  const [busy, setBusy] = useState(false);
  const [request, setRequest] = useState(requestId);
  const existing = target === "new" ? null : target;
  const start = useChange(["dataset"], (values: Values) => importFile(project, existing, values, request));
  useEffect(() => {
    if (target) setRequest(requestId());
  }, [target]);

  const submit = async (values: Values) => {
    const version = await start.mutateAsync(values);
    message.success(t("upload.started", { what: existing?.display_name ?? values.display_name }));
    const [, , , id] = version.name.split("/");
    navigate(`/p/${project}/datasets/${id}?version=${version.number}`);
  };
  return (
    <FormDrawer<Values>
      open={target !== null}
      onClose={onClose}
      form={form}
      title={
        existing
          ? t("upload.newVersion", { what: existing.display_name || lastPart(existing.name) })
          : t("upload.title")
      }
      submitText={t("upload.submit")}
      initialValues={DEFAULTS}
      onSubmit={submit}
      disabled={busy}
      note={busy ? t("upload.fileWait") : undefined}
    >
      <Form.Item
        name="file"
        label={t("upload.file")}
        rules={[{ required: true, message: busy ? t("upload.fileWait") : t("upload.fileMissing") }]}
      >
        <FileField
          accept={ACCEPTED}
          hint={t("upload.dropHint")}
          onBusy={setBusy}
          onFile={(file) => !existing && suggest(form, "display_name", file.name.replace(/\.[^.]+$/, ""))}
          onChange={(sent) => sent && !existing && suggest(form, "type", suggestType(sent))}
        />
      </Form.Item>
      {!existing && <NewDatasetFields />}
      <More title={t("form.more")}>
        <div className="form-grid">
          <Form.Item name="test_percent" required label={t("upload.split")} tooltip={t("upload.splitHint")}>
            <NumberInput min={0} max={90} suffix="%" />
          </Form.Item>
          <Form.Item name="seed" required label={t("upload.seed")}>
            <NumberInput min={0} precision={0} />
          </Form.Item>
        </div>
      </More>
    </FormDrawer>
  );
}

function NewDatasetFields() {
  const { t, word } = useI18n();
  const types = (["SFT", "PREFERENCE", "EVALUATION", "PROMPT"] as const).map((type) => ({
    value: `TYPE_${type}`,
    label: word("type", type),
    hint: word("typeHint", type),
  }));
  return (
    <>
      <Form.Item name="display_name" label={t("form.name")} rules={[{ required: true, message: t("form.required") }]}>
        <Input maxLength={120} />
      </Form.Item>
      <IdField name="dataset_id" from="display_name" />
      <Form.Item name="type" required label={t("upload.type")}>
        <Select
          options={types}
          optionRender={({ data }) => (
            <div>
              {data.label}
              <span className="choice-hint">{data.hint}</span>
            </div>
          )}
        />
      </Form.Item>
      <div className="form-grid">
        <Form.Item name="licence" label={t("upload.licence")} tooltip={t("upload.licenceHint")}>
          <LicenceInput />
        </Form.Item>
        <Form.Item name="language" label={t("upload.language")} tooltip={t("upload.languageHint")}>
          <Input maxLength={35} />
        </Form.Item>
      </div>
      <Form.Item name="origin" label={t("upload.origin")} extra={t("upload.originHint")}>
        <Input maxLength={400} />
      </Form.Item>
    </>
  );
}

/** Any text, with the usual licences to pick from. */
export function LicenceInput(props: {
  id?: string;
  value?: string;
  onChange?: (event: React.ChangeEvent<HTMLInputElement>) => void;
}) {
  return (
    <>
      <Input {...props} list="licences" maxLength={80} />
      <datalist id="licences">
        {LICENCES.map((licence) => (
          <option key={licence} value={licence} />
        ))}
      </datalist>
    </>
  );
}

type Fields = ReturnType<typeof Form.useForm<Values>>[0];

/** What somebody has written stays; `setFields` leaves a field as one that nobody has touched. */
function suggest(form: Fields, name: "display_name" | "type", value: string): void {
  if (!form.isFieldTouched(name)) form.setFields([{ name, value }]);
}

function suggestType(sent: Upload): DatasetType {
  const types: Partial<Record<Upload["detected_row_format"], DatasetType>> = {
    ROW_FORMAT_PREFERENCE: "TYPE_PREFERENCE",
    ROW_FORMAT_PROMPT: "TYPE_PROMPT",
  };
  return types[sent.detected_row_format] ?? "TYPE_SFT";
}

async function importFile(
  project: string,
  existing: Dataset | null,
  values: Values,
  request: string,
): Promise<DatasetVersion> {
  const id = existing ? lastPart(existing.name) : values.dataset_id;
  if (!existing) {
    await post<Dataset>(`/projects/${project}/datasets`, {
      dataset_id: id,
      display_name: values.display_name,
      type: values.type,
      licence: values.licence,
      origin: values.origin,
      language: values.language,
      request_id: `${request}-dataset`,
    });
  }
  return post<DatasetVersion>(`/projects/${project}/datasets/${id}/versions`, {
    source_uri: values.file.uri,
    row_format: values.file.detected_row_format,
    file_type: values.file.detected_file_type,
    split_settings: { test_fraction: (values.test_percent ?? 20) / 100, seed: String(values.seed ?? 1) },
    request_id: `${request}-version`,
  });
}
