import { DeleteOutlined, PlusOutlined } from "@ant-design/icons";
import { Button, Form, Input, Segmented, Select } from "antd";
import { useEffect, useState } from "react";
import { post } from "@/api/client";
import { bare, lastPart, requestId } from "@/api/names";
import { useChange, useProject } from "@/api/queries";
import type { Deployment, TargetSpec } from "@/api/types";
import { useI18n } from "@/i18n";
import { FormDrawer } from "@/ui/FormDrawer";
import { IdField } from "@/ui/IdField";
import { NumberInput } from "@/ui/NumberInput";
import { VariantPicker } from "@/ui/Pickers";
import { useMessage } from "@/ui/useMessage";

interface CreateValues {
  display_name: string;
  deployment_id: string;
  kind: "variant" | "upstream";
  variant?: string;
  upstream_url?: string;
  upstream_model?: string;
  upstream_key_ref?: string;
  region?: string;
  input_usd?: number | null;
  output_usd?: number | null;
  places?: number | null;
}

export function CreateDeploymentDrawer({ open, onClose }: { open: boolean; onClose: () => void }) {
  const { t } = useI18n();
  const message = useMessage();
  const project = useProject();
  const [form] = Form.useForm<CreateValues>();
  const kind = Form.useWatch("kind", form);
  const [request, setRequest] = useState(requestId);
  useEffect(() => {
    if (open) setRequest(requestId());
  }, [open]);
  const needed = [{ required: true, message: t("form.required") }];
  const create = useChange(
    ["inference_gateway", "gpu_scheduler"],
    ({ display_name, deployment_id, kind: _, input_usd, output_usd, places, ...target }: CreateValues) => {
      const told = { input_price_microusd: micro(input_usd), output_price_microusd: micro(output_usd), places };
      return post<Deployment>(`/projects/${project}/deployments`, {
        display_name,
        deployment_id,
        targets: [{ ...target, ...(target.upstream_url && told), weight_percent: 100 }],
        request_id: request,
      });
    },
  );
  return (
    <FormDrawer<CreateValues>
      open={open}
      onClose={onClose}
      form={form}
      title={t("deployments.new")}
      lead={t("deployments.newLead")}
      submitText={t("action.create")}
      initialValues={{ kind: "variant" }}
      onSubmit={async (values) => {
        await create.mutateAsync(values);
        message.success(t("deployments.created", { what: values.display_name }));
      }}
    >
      <Form.Item name="display_name" label={t("form.name")} rules={needed}>
        <Input maxLength={120} />
      </Form.Item>
      <IdField name="deployment_id" from="display_name" label={t("deployments.openaiName")} />
      <Form.Item name="kind" required label={t("deployments.serves")}>
        <Segmented
          aria-label={t("deployments.serves")}
          options={[
            { value: "variant", label: t("deployments.ownModel") },
            { value: "upstream", label: t("engine.OPENAI") },
          ]}
        />
      </Form.Item>
      {kind === "upstream" ? (
        <>
          <Form.Item
            name="upstream_url"
            label={t("deployments.upstreamUrl")}
            rules={[{ required: true, type: "url", message: t("deployments.upstreamUrlRule") }]}
          >
            <Input placeholder="http://127.0.0.1:11434/v1" className="mono" />
          </Form.Item>
          <div className="form-grid">
            <Form.Item name="upstream_model" label={t("deployments.upstreamModel")} rules={needed}>
              <Input className="mono" />
            </Form.Item>
            <Form.Item
              name="upstream_key_ref"
              label={t("deployments.upstreamKey")}
              tooltip={t("deployments.upstreamKeyHint")}
            >
              <Input className="mono" autoComplete="off" />
            </Form.Item>
            <Form.Item name="input_usd" label={t("deployments.inputPrice")} tooltip={t("deployments.priceHint")}>
              <NumberInput min={0} max={1000} precision={6} prefix="$" />
            </Form.Item>
            <Form.Item name="output_usd" label={t("deployments.outputPrice")} tooltip={t("deployments.priceHint")}>
              <NumberInput min={0} max={1000} precision={6} prefix="$" />
            </Form.Item>
            <Form.Item name="places" label={t("deployments.places")} tooltip={t("deployments.placesHint")}>
              <NumberInput min={0} max={4096} precision={0} />
            </Form.Item>
          </div>
          <Form.Item name="region" label={t("traffic.region")} tooltip={t("traffic.regionHint")}>
            <Input className="mono" maxLength={63} />
          </Form.Item>
        </>
      ) : (
        <Form.Item name="variant" label={t("models.variant")} rules={needed}>
          <VariantPicker />
        </Form.Item>
      )}
    </FormDrawer>
  );
}

/** Millionths of a dollar; an empty field says nothing. */
function micro(dollars: number | null | undefined): string | undefined {
  return dollars ? String(Math.round(dollars * 1e6)) : undefined;
}

interface ShiftValues {
  targets: TargetSpec[];
  steps: string[];
  step_seconds: number;
}

/** The whole split afterwards, at once or in steps; what is left out stands by, so that it can be taken back. */
export function ShiftDrawer({ deployment, onClose }: { deployment: Deployment | null; onClose: () => void }) {
  const { t } = useI18n();
  const message = useMessage();
  const [form] = Form.useForm<ShiftValues>();
  const shift = useChange(
    ["inference_gateway", "gpu_scheduler"],
    async ({ name, etag, values }: { name: string; etag?: string; values: ShiftValues }) =>
      post<Deployment>(`/${name}:shift`, {
        targets: values.targets.map((target) => ({ ...target, weight_percent: target.weight_percent ?? 0 })),
        steps: values.steps.map(Number),
        step_time: `${values.step_seconds}s`,
        etag,
      }),
  );
  const now = deployment ? toSpecs(deployment) : [];
  const values = Form.useWatch("targets", form) ?? now;
  const sum = values.reduce((total, target) => total + (target?.weight_percent ?? 0), 0);
  return (
    <FormDrawer<ShiftValues>
      open={deployment !== null}
      onClose={onClose}
      form={form}
      title={t("deployments.shiftTitle", { what: deployment ? lastPart(deployment.name) : "" })}
      lead={t("deployments.shiftLead")}
      submitText={t("deployments.shift")}
      initialValues={{ targets: now, steps: ["100"], step_seconds: 60 }}
      disabled={sum !== 100}
      note={sum !== 100 && <span style={{ color: "var(--wait)" }}>{t("deployments.sum", { sum })}</span>}
      size={620}
      onSubmit={async (values) => {
        if (!deployment) return;
        await shift.mutateAsync({ name: deployment.name, etag: deployment.etag, values });
        message.success(t("deployments.shifted"));
      }}
    >
      <Form.List name="targets">
        {(fields, { add, remove }) => (
          <div className="stack-s">
            {fields.map(({ key, name }) => (
              <div key={key} className="shift-row">
                <Form.Item noStyle dependencies={[["targets", name, "upstream_url"]]}>
                  {({ getFieldValue }) =>
                    getFieldValue(["targets", name, "upstream_url"]) ? (
                      <Form.Item name={[name, "upstream_url"]} noStyle>
                        <Input className="mono" readOnly aria-label={t("deployments.upstreamUrl")} />
                      </Form.Item>
                    ) : (
                      <Form.Item
                        name={[name, "variant"]}
                        noStyle
                        rules={[{ required: true, message: t("form.required") }]}
                      >
                        <VariantPicker aria-label={t("models.variant")} />
                      </Form.Item>
                    )
                  }
                </Form.Item>
                <Form.Item name={[name, "weight_percent"]} noStyle>
                  <NumberInput min={0} max={100} precision={0} suffix="%" aria-label={t("deployments.share")} />
                </Form.Item>
                <Button
                  type="text"
                  size="small"
                  icon={<DeleteOutlined aria-hidden />}
                  aria-label={t("action.delete")}
                  disabled={fields.length === 1}
                  onClick={() => remove(name)}
                />
              </div>
            ))}
            <div>
              <Button size="small" icon={<PlusOutlined aria-hidden />} onClick={() => add({ weight_percent: 0 })}>
                {t("deployments.addTarget")}
              </Button>
            </div>
          </div>
        )}
      </Form.List>
      <div className="form-grid">
        <Form.Item name="steps" label={t("pipelines.steps")} tooltip={t("deployments.stepsHint")}>
          <Select mode="tags" open={false} suffixIcon={null} tokenSeparators={[",", " "]} />
        </Form.Item>
        <Form.Item name="step_seconds" required label={t("pipelines.stepSeconds")}>
          <NumberInput min={0} max={604_800} precision={0} />
        </Form.Item>
      </div>
    </FormDrawer>
  );
}

function toSpecs({ targets }: Deployment): TargetSpec[] {
  return targets
    .filter(
      (target) => ["PENDING", "STARTING", "READY", "ASLEEP"].includes(bare(target.state)) || target.weight_percent > 0,
    )
    .filter((target) => !target.shadow_percent)
    .map((target) => ({
      variant: target.variant,
      engine: target.engine,
      weight_percent: target.weight_percent,
      upstream_url: target.upstream_url,
      upstream_model: target.upstream_model,
      upstream_key_ref: target.upstream_key_ref,
      input_price_microusd: target.input_price_microusd,
      output_price_microusd: target.output_price_microusd,
      places: target.places,
      region: target.region,
    }));
}
