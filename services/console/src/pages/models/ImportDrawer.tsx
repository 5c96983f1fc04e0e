import { Form, Input, Select, Switch } from "antd";
import { useEffect, useState } from "react";
import { useNavigate } from "react-router";
import { post } from "@/api/client";
import { lastPart, requestId } from "@/api/names";
import { useChange, useProject } from "@/api/queries";
import type { Model, ModelUpload, ModelVersion, Upload, Variant } from "@/api/types";
import { useI18n } from "@/i18n";
import { FileField } from "@/pages/datasets/FileField";
import { LicenceInput } from "@/pages/datasets/UploadDrawer";
import { FormDrawer } from "@/ui/FormDrawer";
import { IdField } from "@/ui/IdField";
import { useMessage } from "@/ui/useMessage";
import { AdapterFields } from "./AdapterFields";
import { PartsField } from "./PartsField";

type SourceKind = "bundled" | "hf" | "ms" | "file" | "parts";

interface Values {
  source: SourceKind;
  repository?: string;
  revision?: string;
  file?: Upload;
  parts?: ModelUpload;
  is_adapter?: boolean;
  base?: string;
  variant_id?: string;
  display_name: string;
  model_id: string;
  licence?: string;
  origin?: string;
}

const BUNDLED = {
  source: "bundled://smollm2",
  name: "SmolLM2 135M Instruct",
  licence: "Apache-2.0",
  origin: "HuggingFaceTB/SmolLM2-135M-Instruct",
};

/** Weights from elsewhere: a new model, or one more version of `target`. */
export function ImportDrawer({ target, onClose }: { target: Model | "new" | null; onClose: () => void }) {
  const { t } = useI18n();
  const message = useMessage();
  const navigate = useNavigate();
  const project = useProject();
  const [form] = Form.useForm<Values>();
  const [busy, setBusy] = useState(false);
  const [request, setRequest] = useState(requestId);
  const existing = target === "new" ? null : target;
  const kind: SourceKind = Form.useWatch("source", form) ?? "bundled";
  const isSent = Form.useWatch("parts", form)?.kind === "KIND_ADAPTER" && kind === "parts";
  const isSaidToBe = !!Form.useWatch("is_adapter", form);
  const isAdapter = isSent || (isSaidToBe && isHub(kind));
  const start = useChange(["model_registry", "gpu_scheduler"], (values: Values) =>
    importModel(project, existing, values, request),
  );
  useEffect(() => {
    if (target) setRequest(requestId());
  }, [target]);
  useEffect(() => {
    if (target !== "new") return;
    const known = { display_name: BUNDLED.name, licence: BUNDLED.licence, origin: BUNDLED.origin };
    if (kind === "bundled") form.setFieldsValue(known);
    else if (form.getFieldValue("origin") === BUNDLED.origin)
      form.resetFields(["display_name", "licence", "origin", "model_id"]);
  }, [kind, target, form]);

  return (
    <FormDrawer<Values>
      open={target !== null}
      onClose={onClose}
      form={form}
      title={
        existing
          ? t("upload.newVersion", { what: existing.display_name || lastPart(existing.name) })
          : t("models.importTitle")
      }
      submitText={t("upload.submit")}
      initialValues={{ source: "bundled" }}
      disabled={busy}
      note={busy ? t("upload.fileWait") : undefined}
      onSubmit={async (values) => {
        const { name } = await start.mutateAsync(values);
        const [, , , id, , number] = name.split("/");
        message.success(
          t("upload.started", { what: existing?.display_name ?? values.display_name ?? `${id}@${number}` }),
        );
        navigate(`/p/${project}/models/${id}?version=${number}`);
      }}
    >
      <SourceFields kind={kind} onBusy={setBusy} />
      {isAdapter && <AdapterFields model={existing} mayFind={isSent} />}
      {!existing && !isAdapter && (
        <>
          <Form.Item
            name="display_name"
            label={t("form.name")}
            rules={[{ required: true, message: t("form.required") }]}
          >
            <Input maxLength={120} />
          </Form.Item>
          <IdField name="model_id" from="display_name" />
        </>
      )}
      {!isAdapter && (
        <>
          <Form.Item name="licence" label={t("upload.licence")} tooltip={t("upload.licenceHint")}>
            <LicenceInput />
          </Form.Item>
          <Form.Item name="origin" label={t("upload.origin")}>
            <Input maxLength={400} />
          </Form.Item>
        </>
      )}
    </FormDrawer>
  );
}

function SourceFields({ kind, onBusy }: { kind: SourceKind; onBusy: (busy: boolean) => void }) {
  const { t } = useI18n();
  const kinds: { value: SourceKind; label: string }[] = [
    { value: "bundled", label: t("models.source.bundled") },
    { value: "parts", label: t("models.source.parts") },
    { value: "file", label: t("models.source.file") },
    { value: "hf", label: "Hugging Face" },
    { value: "ms", label: t("models.source.ms") },
  ];
  const needed = [{ required: true, message: t("form.required") }];
  return (
    <>
      <Form.Item name="source" required label={t("models.source")} extra={t("models.sourceHint")}>
        <Select options={kinds} />
      </Form.Item>
      {kind === "file" && (
        <Form.Item name="file" label={t("upload.file")} rules={[{ required: true, message: t("upload.fileMissing") }]}>
          <FileField accept=".zip,.tar,.gz,.tgz" hint={t("models.fileHint")} onBusy={onBusy} />
        </Form.Item>
      )}
      {kind === "parts" && (
        <Form.Item name="parts" label={t("parts.files")} rules={[{ required: true, message: t("parts.missing") }]}>
          <PartsField onBusy={onBusy} />
        </Form.Item>
      )}
      {isHub(kind) && (
        <div className="form-grid">
          <Form.Item name="repository" label={t("models.repository")} rules={needed}>
            <Input placeholder="HuggingFaceTB/SmolLM2-135M-Instruct" className="mono" />
          </Form.Item>
          <Form.Item name="revision" label={t("models.revision")}>
            <Input className="mono" />
          </Form.Item>
          <Form.Item name="is_adapter" label={t("parts.isAdapter")} valuePropName="checked">
            <Switch />
          </Form.Item>
        </div>
      )}
    </>
  );
}

async function importModel(
  project: string,
  existing: Model | null,
  values: Values,
  request: string,
): Promise<ModelVersion | Variant> {
  if (values.base) {
    const revision = values.revision && isHub(values.source) ? `@${values.revision}` : "";
    const source = `${sourceOf(values)}${revision}`;
    return post<Variant>(`/${values.base}/variants`, {
      format: "FORMAT_ADAPTER",
      source,
      variant_id: values.variant_id,
    });
  }
  const id = existing ? lastPart(existing.name) : values.model_id;
  const { licence, origin } = values;
  if (!existing) {
    await post<Model>(`/projects/${project}/models`, {
      model_id: id,
      display_name: values.display_name,
      licence,
      origin,
      request_id: `${request}-model`,
    });
  }
  return post<ModelVersion>(`/projects/${project}/models/${id}/versions:import`, {
    source: sourceOf(values),
    revision: values.revision,
    licence,
    origin,
    request_id: `${request}-version`,
  });
}

function isHub(source: SourceKind): boolean {
  return source === "hf" || source === "ms";
}

function sourceOf({ source, repository, file, parts }: Values): string {
  if (source === "parts") return parts?.uri ?? "";
  if (source === "file") return file?.uri ?? "";
  return source === "bundled" ? BUNDLED.source : `${source}://${repository?.trim()}`;
}
