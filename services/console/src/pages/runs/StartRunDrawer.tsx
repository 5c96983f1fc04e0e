import { Form, Input, Segmented, Select } from "antd";
import { useEffect, useState } from "react";
import { useNavigate } from "react-router";
import { post } from "@/api/client";
import { bare, lastPart, requestId } from "@/api/names";
import { useChange, useList, useProject } from "@/api/queries";
import type { Dataset, Hyperparameters, Preset, Recipe, Run, RunSpec } from "@/api/types";
import { useI18n } from "@/i18n";
import { FormDrawer, More } from "@/ui/FormDrawer";
import { NumberInput } from "@/ui/NumberInput";
import { DatasetVersionPicker, ModelVersionPicker } from "@/ui/Pickers";
import { ensureModel, ModelNameField } from "@/ui/RegisterAs";
import { useMessage } from "@/ui/useMessage";
import { EstimateNote, FlavorTable, useEstimate } from "./Estimates";
import { HealthFields, type HealthValues, toHealth } from "./Health";
import { HyperparameterFields } from "./Hyperparameters";
import { TryRun } from "./TryRun";

const BALANCED: Preset = "PRESET_BALANCED";

interface Values {
  display_name?: string;
  recipe: string;
  preset: Preset;
  base: string;
  datasets: string[];
  reward_model?: string;
  register_as?: string;
  seed: number;
  priority: number;
  hyperparameters: Hyperparameters;
  health?: HealthValues;
}

export function StartRunDrawer({ open, onClose }: { open: boolean; onClose: () => void }) {
  const { t, word } = useI18n();
  const message = useMessage();
  const navigate = useNavigate();
  const project = useProject();
  const [form] = Form.useForm<Values>();
  const [request, setRequest] = useState(requestId);
  const recipes = useList<"recipes", Recipe>(`/projects/${project}/recipes`).data?.recipes ?? [];
  const chosen = Form.useWatch("recipe", form);
  const recipe = recipes.find((one) => one.name === chosen) ?? recipes[0];
  const values = Form.useWatch([], form) as Values | undefined;
  const asked = useEstimate(values && toSpec(project, values, recipe));
  const start = useChange(["training_scheduler", "gpu_scheduler", "model_registry"], async (given: Values) => {
    await ensureModel(project, given.register_as);
    return post<Run>(`/projects/${project}/runs`, {
      display_name: given.display_name,
      spec: toSpec(project, given, recipe),
      request_id: request,
    });
  });
  useEffect(() => {
    if (open) setRequest(requestId());
  }, [open]);
  useEffect(() => {
    if (!open || !recipe) return;
    form.setFieldsValue({ recipe: recipe.name, preset: BALANCED, hyperparameters: recipe.hyperparameters ?? {} });
  }, [open, recipe, form]);

  return (
    <FormDrawer<Values>
      open={open}
      onClose={onClose}
      form={form}
      title={t("runs.startTitle")}
      submitText={t("action.start")}
      size={600}
      initialValues={{ seed: 7, priority: 0, datasets: [] }}
      note={<EstimateNote {...asked} />}
      onSubmit={async (given) => {
        const run = await start.mutateAsync(given);
        message.success(t("runs.started", { n: run.number }));
        navigate(`/p/${project}/runs/${lastPart(run.name)}`);
      }}
    >
      <RecipeField recipes={recipes} />
      {recipe && (
        <Form.Item name="preset" label={t("runs.preset")} rules={[{ required: true }]} initialValue={BALANCED}>
          <Segmented
            aria-label={t("runs.preset")}
            options={recipe.presets.map((one) => ({ value: one.preset, label: word("preset", bare(one.preset)) }))}
            onChange={(preset) => {
              const found = recipe.presets.find((one) => one.preset === preset);
              form.setFieldsValue({ hyperparameters: found?.hyperparameters ?? {} });
            }}
          />
        </Form.Item>
      )}
      <Form.Item name="base" label={t("runs.base")} rules={[{ required: true, message: t("form.required") }]}>
        <ModelVersionPicker />
      </Form.Item>
      <Form.Item name="datasets" label={t("run.datasets")} rules={[{ required: true, message: t("form.required") }]}>
        <FittingVersions type={recipe?.dataset_type} />
      </Form.Item>
      {recipe?.needs_reward_model && (
        <Form.Item
          name="reward_model"
          label={t("run.rewardModel")}
          rules={[{ required: true, message: t("form.required") }]}
        >
          <ModelVersionPicker />
        </Form.Item>
      )}
      <ModelNameField name="register_as" />
      {recipe?.hyperparameters && (
        <HyperparameterFields method={recipe.method} of={recipe.hyperparameters} main under={["hyperparameters"]} />
      )}
      <More title={t("form.more")}>
        <Form.Item name="display_name" label={t("form.name")}>
          <Input maxLength={120} />
        </Form.Item>
        {recipe?.hyperparameters && (
          <HyperparameterFields
            method={recipe.method}
            of={recipe.hyperparameters}
            main={false}
            under={["hyperparameters"]}
          />
        )}
        <div className="form-grid">
          <Form.Item name="seed" required label={t("run.seed")}>
            <NumberInput min={0} precision={0} />
          </Form.Item>
          <Form.Item name="priority" required label={t("run.priority")} tooltip={t("run.priorityHint")}>
            <NumberInput min={-100} max={100} precision={0} />
          </Form.Item>
        </div>
      </More>
      <More title={t("run.healthRules")}>
        <HealthFields method={recipe?.method} under={["health"]} />
      </More>
      <FlavorTable {...asked} />
      {asked.ready && values && <TryRun spec={toSpec(project, values, recipe)} name={values.display_name} />}
    </FormDrawer>
  );
}

function RecipeField({ recipes }: { recipes: Recipe[] }) {
  const { t, word } = useI18n();
  const options = recipes.map((recipe) => ({
    value: recipe.name,
    label: word("method", bare(recipe.method)),
    hint: word("methodHint", bare(recipe.method)),
    id: lastPart(recipe.name),
  }));
  return (
    <Form.Item name="recipe" label={t("runs.recipe")} rules={[{ required: true, message: t("form.required") }]}>
      <Select
        options={options}
        optionRender={({ data }) => (
          <div>
            {data.label} <span className="mono quiet">{data.id}</span>
            <span className="choice-hint">{data.hint}</span>
          </div>
        )}
      />
    </Form.Item>
  );
}

/** Versions of the data sets whose type the method reads. */
function FittingVersions({
  type,
  ...field
}: {
  type?: string;
  id?: string;
  value?: string[];
  onChange?: (value: string[]) => void;
}) {
  const project = useProject();
  const datasets = useList<"datasets", Dataset>(`/projects/${project}/datasets`, { page_size: 500 }).data?.datasets;
  const fitting =
    datasets && type
      ? new Set(datasets.filter((one) => bare(one.type) === bare(type)).map((one) => one.name))
      : undefined;
  return (
    <DatasetVersionPicker
      {...field}
      onChange={(value) => field.onChange?.([value].flat())}
      mode="multiple"
      only={fitting}
    />
  );
}

function toSpec(project: string, values: Values, recipe: Recipe | undefined): Partial<RunSpec> {
  return {
    method: recipe?.method,
    recipe: values.recipe,
    preset: values.preset,
    base: values.base,
    datasets: values.datasets,
    reward_model: values.reward_model,
    register_as: values.register_as ? `projects/${project}/models/${values.register_as}` : undefined,
    hyperparameters: values.hyperparameters,
    health: toHealth(values.health) as RunSpec["health"],
    seed: String(values.seed ?? 7),
    priority: values.priority,
  };
}
