import { DeleteOutlined, PlusOutlined } from "@ant-design/icons";
import { AutoComplete, Button, Form, Input, Select, Switch } from "antd";
import { type ReactNode, useEffect, useState } from "react";
import { useNavigate } from "react-router";
import { post } from "@/api/client";
import { lastPart, requestId } from "@/api/names";
import { useChange, useList, useProject } from "@/api/queries";
import type { Batch, Deployment, Method, Pipeline, Recipe } from "@/api/types";
import { useI18n } from "@/i18n";
import { GateRules, USUAL_RULES } from "@/pages/evaluations/GateRules";
import { HyperparameterFields } from "@/pages/runs/Hyperparameters";
import { FormDrawer, More } from "@/ui/FormDrawer";
import { IdField } from "@/ui/IdField";
import { NumberInput } from "@/ui/NumberInput";
import { DatasetVersionPicker, ModelVersionPicker, SuitePicker } from "@/ui/Pickers";
import { ensureModel, ModelNameField } from "@/ui/RegisterAs";
import { useClear } from "@/ui/useClear";
import { useMessage } from "@/ui/useMessage";
import { type LapValues, toSpec } from "./spec";

const DEFAULTS: Partial<LapValues> = {
  sft_datasets: [{ max_rows: 80 }],
  collects: false,
  min_feedback: 50,
  with_dpo: true,
  with_rlhf: false,
  quantisations: ["Q8_0", "Q4_K_M"],
  with_gate: true,
  rules: USUAL_RULES,
  alias: "production",
  traffic_steps: ["10", "50", "100"],
  traffic_step_seconds: 5,
  seed: 7,
};

/** One lap: from approved feedback to traffic on the better model. */
export function StartLapDrawer({ open, batch, onClose }: { open: boolean; batch: string; onClose: () => void }) {
  const { t, word } = useI18n();
  const message = useMessage();
  const navigate = useNavigate();
  const project = useProject();
  const [form] = Form.useForm<LapValues>();
  const [request, setRequest] = useState(requestId);
  const recipes = useList<"recipes", Recipe>(`/projects/${project}/recipes`).data?.recipes ?? [];
  const recipe = (method: Method) => recipes.find((one) => one.method === method);
  const [sft, dpo, reward, ppo] = [
    recipe("METHOD_SFT"),
    recipe("METHOD_DPO"),
    recipe("METHOD_REWARD"),
    recipe("METHOD_PPO"),
  ];
  useEffect(() => {
    if (!open) return;
    setRequest(requestId());
    if (batch) form.setFieldsValue({ feedback_batch: `projects/${project}/batches/${batch}` });
  }, [open, batch, project, form]);
  useEffect(() => {
    if (!open) return;
    const steps = { sft, dpo, reward, ppo };
    for (const [name, one] of Object.entries(steps)) form.setFieldValue(name, one?.hyperparameters ?? {});
  }, [open, form, sft, dpo, reward, ppo]);
  const start = useChange(["training_scheduler", "model_registry"], async (values: LapValues) => {
    await ensureModel(project, values.register_as);
    return post<Pipeline>(`/projects/${project}/pipelines`, {
      display_name: values.display_name,
      spec: toSpec(project, values),
      request_id: request,
    });
  });

  return (
    <FormDrawer<LapValues>
      open={open}
      onClose={onClose}
      form={form}
      size={640}
      title={t("pipelines.startTitle")}
      lead={t("pipelines.startLead")}
      submitText={t("action.start")}
      initialValues={DEFAULTS}
      onSubmit={async (values) => {
        const lap = await start.mutateAsync(values);
        message.success(t("pipelines.started", { n: lap.number }));
        navigate(`/p/${project}/pipelines/${lastPart(lap.name)}`);
      }}
    >
      <Learn />
      <Section title={t("pipelines.section.train")}>
        <Form.Item name="base" label={t("runs.base")} rules={[{ required: true, message: t("form.required") }]}>
          <ModelVersionPicker />
        </Form.Item>
        <StepFields recipe={sft} under="sft" />
        <Toggle name="with_dpo" label={t("pipelines.withDpo")}>
          <StepFields recipe={dpo} under="dpo" />
        </Toggle>
        <Toggle name="with_rlhf" label={t("pipelines.withRlhf")}>
          <p className="quiet">{t("pipelines.withRlhfHint")}</p>
          <h4>{word("stage", "reward")}</h4>
          <StepFields recipe={reward} under="reward" />
          <h4>{word("stage", "ppo")}</h4>
          <StepFields recipe={ppo} under="ppo" />
        </Toggle>
        <ModelNameField name="register_as" required />
      </Section>
      <Section title={t("pipelines.section.measure")}>
        <Form.Item
          name="quantisations"
          label={t("pipelines.quantisations")}
          extra={t("pipelines.quantisationsHint")}
          rules={[{ required: true, message: t("form.required") }]}
        >
          <Select
            mode="multiple"
            options={["Q8_0", "Q6_K", "Q5_K_M", "Q4_K_M"].map((one) => ({ value: one, label: one }))}
          />
        </Form.Item>
        <Form.Item name="suites" label={t("suites.title")} rules={[{ required: true, message: t("form.required") }]}>
          <SuitePicker mode="multiple" />
        </Form.Item>
        <Toggle name="with_gate" label={t("pipelines.withGate")}>
          <GateRules name="rules" />
        </Toggle>
      </Section>
      <Serve />
    </FormDrawer>
  );
}

/** The main settings of one training within a lap. */
function StepFields({ recipe, under }: { recipe: Recipe | undefined; under: string }) {
  if (!recipe?.hyperparameters) return null;
  return <HyperparameterFields method={recipe.method} of={recipe.hyperparameters} main under={[under]} />;
}

function Learn() {
  const { t } = useI18n();
  const clear = useClear();
  const project = useProject();
  const collects: unknown = Form.useWatch("collects", Form.useFormInstance());
  const batches =
    useList<"batches", Batch>(`/projects/${project}/feedback-batches`, { filter: "state=READY", page_size: 100 }).data
      ?.batches ?? [];
  return (
    <Section title={t("pipelines.section.learn")}>
      <Toggle name="collects" label={t("pipelines.collects")}>
        <div className="form-grid">
          <Form.Item
            name="min_feedback"
            label={t("pipelines.minFeedback")}
            extra={t("pipelines.minFeedbackHint")}
            required
          >
            <NumberInput min={1} max={100_000} precision={0} />
          </Form.Item>
          <IdField name="collect_into" label={t("pipelines.collectInto")} />
        </div>
      </Toggle>
      {collects !== true && (
        <Form.Item name="feedback_batch" label={t("pipelines.batch")} extra={t("pipelines.batchHint")}>
          <Select
            allowClear={clear}
            placeholder={t("picker.choose")}
            notFoundContent={t("batches.empty")}
            options={batches.map((one) => ({
              value: one.name,
              label: `${one.display_name || t("batches.numbered", { n: one.number })} · ${t("pipelines.batchSize", { n: one.count })}`,
            }))}
          />
        </Form.Item>
      )}
      <Form.Item label={t("pipelines.replay")} extra={t("pipelines.replayHint")}>
        <Form.List name="sft_datasets">
          {(fields, { add, remove }) => (
            <div className="stack-s">
              {fields.map(({ key, name }) => (
                <div key={key} className="replay-row">
                  <Form.Item name={[name, "version"]} noStyle>
                    <DatasetVersionPicker aria-label={t("run.datasets")} allowClear />
                  </Form.Item>
                  <Form.Item name={[name, "max_rows"]} noStyle>
                    <NumberInput min={0} precision={0} aria-label={t("suites.maxRows")} />
                  </Form.Item>
                  <Button
                    type="text"
                    size="small"
                    icon={<DeleteOutlined aria-hidden />}
                    aria-label={t("action.delete")}
                    onClick={() => remove(name)}
                  />
                </div>
              ))}
              <div>
                <Button size="small" icon={<PlusOutlined aria-hidden />} onClick={() => add({ max_rows: 0 })}>
                  {t("pipelines.addData")}
                </Button>
              </div>
            </div>
          )}
        </Form.List>
      </Form.Item>
    </Section>
  );
}

function Serve() {
  const { t } = useI18n();
  const clear = useClear();
  const project = useProject();
  const deployments =
    useList<"deployments", Deployment>(`/projects/${project}/deployments`, { page_size: 200 }).data?.deployments ?? [];
  return (
    <Section title={t("pipelines.section.serve")}>
      <div className="form-grid">
        <Form.Item name="deployment" label={t("pipelines.deployment")} tooltip={t("pipelines.deploymentHint")}>
          <AutoComplete allowClear={clear} options={deployments.map((one) => ({ value: lastPart(one.name) }))} />
        </Form.Item>
        <Form.Item name="alias" label={t("pipelines.alias")} tooltip={t("pipelines.aliasHint")}>
          <Input className="mono" />
        </Form.Item>
        <Form.Item name="traffic_steps" label={t("pipelines.steps")} tooltip={t("pipelines.stepsHint")}>
          <Select mode="tags" open={false} suffixIcon={null} tokenSeparators={[",", " "]} />
        </Form.Item>
        <Form.Item name="traffic_step_seconds" required label={t("pipelines.stepSeconds")}>
          <NumberInput min={0} max={86_400} precision={0} />
        </Form.Item>
      </div>
      <More title={t("form.more")}>
        <div className="form-grid">
          <Form.Item name="display_name" label={t("form.name")}>
            <Input maxLength={120} />
          </Form.Item>
          <Form.Item name="seed" required label={t("run.seed")}>
            <NumberInput min={0} precision={0} />
          </Form.Item>
        </div>
      </More>
    </Section>
  );
}

function Section({ title, children }: { title: string; children: ReactNode }) {
  return (
    <>
      <h3 className="form-section">{title}</h3>
      {children}
    </>
  );
}

/** A part that can be left out; what belongs to it shows only when it is in. */
function Toggle({ name, label, children }: { name: string; label: string; children: ReactNode }) {
  const on: unknown = Form.useWatch(name, Form.useFormInstance());
  return (
    <>
      <div className="row" style={{ marginBottom: 12 }}>
        <Form.Item name={name} valuePropName="checked" noStyle>
          <Switch size="small" aria-label={label} />
        </Form.Item>
        <span>{label}</span>
      </div>
      {on === true && children}
    </>
  );
}
