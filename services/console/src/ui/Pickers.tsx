import { Select, type SelectProps } from "antd";
import { lastPart, shortName } from "@/api/names";
import { useList, useProject } from "@/api/queries";
import type { DatasetVersion, Deployment, ModelVersion, Suite } from "@/api/types";
import { useI18n } from "@/i18n";
import { formatNumber } from "@/i18n/format";
import { useClear } from "@/ui/useClear";

type Props = Omit<SelectProps<string | string[]>, "options" | "loading">;
/** More than a person scrolls through; the search in the box does the rest. */
const PAGE = 200;

/** READY versions of data sets, those whose data set is in `only` if that is given. */
export function DatasetVersionPicker({ only, ...props }: Props & { only?: ReadonlySet<string> }) {
  const { t, language } = useI18n();
  const project = useProject();
  const list = useList<"versions", DatasetVersion>(`/projects/${project}/datasets/-/versions`, {
    filter: "state=READY",
    page_size: PAGE,
  });
  const versions = (list.data?.versions ?? []).filter((version) => !only || only.has(datasetOf(version.name)));
  const options = versions.map((version) => ({
    value: version.name,
    label: `${shortName(version.name)} · ${t("picker.rows", { n: Number(version.train_count), rows: formatNumber(language, Number(version.train_count)) })}`,
  }));
  return <Picker {...props} options={options} loading={list.isPending} />;
}

export function datasetOf(version: string): string {
  return version.split("/versions/")[0] ?? version;
}

/** READY versions of models, as something to train from. */
export function ModelVersionPicker(props: Props) {
  const project = useProject();
  const list = useModelVersions(project);
  const options = (list.data?.versions ?? []).map((version) => ({
    value: version.name,
    label: shortName(version.name),
  }));
  return <Picker {...props} options={options} loading={list.isPending} />;
}

/** Variants that an engine can serve: every whole GGUF of every READY version. */
export function VariantPicker(props: Props) {
  return <VariantsOf {...props} fits={(id, all) => id !== "hf" && !isAdapter(id) && !all.includes(`${id}-gguf`)} />;
}

/** Variants that an engine can add to a base. */
export function AdapterPicker(props: Props) {
  return <VariantsOf {...props} fits={(id, all) => isAdapter(id) && !all.includes(`${id}-gguf`)} />;
}

/** As an engine takes it: a run's, or the form `…-gguf` of one that was imported. */
function isAdapter(id: string): boolean {
  return id === "adapter" || id.endsWith("-gguf");
}

function VariantsOf({ fits, ...props }: Props & { fits: (id: string, all: string[]) => boolean }) {
  const project = useProject();
  const list = useModelVersions(project);
  const served = (list.data?.versions ?? []).flatMap(({ variants }) => {
    const ids = variants.map(lastPart);
    return variants.filter((one) => fits(lastPart(one), ids));
  });
  const options = served.map((variant) => ({ value: variant, label: shortName(variant) }));
  return <Picker {...props} options={options} loading={list.isPending} />;
}

export function SuitePicker(props: Props) {
  const project = useProject();
  const list = useList<"suites", Suite>(`/projects/${project}/suites`, { page_size: PAGE });
  const options = (list.data?.suites ?? []).map((suite) => ({
    value: suite.name,
    label: suite.display_name || lastPart(suite.name),
  }));
  return <Picker {...props} options={options} loading={list.isPending} />;
}

export function DeploymentPicker(props: Props) {
  const project = useProject();
  const list = useList<"deployments", Deployment>(`/projects/${project}/deployments`, { page_size: PAGE });
  const options = (list.data?.deployments ?? []).map((one) => ({
    value: one.name,
    label: one.display_name || lastPart(one.name),
  }));
  return <Picker {...props} options={options} loading={list.isPending} />;
}

function useModelVersions(project: string) {
  return useList<"versions", ModelVersion>(`/projects/${project}/models/-/versions`, {
    filter: "state=READY",
    page_size: PAGE,
  });
}

function Picker({
  allowClear = false,
  ...props
}: Props & { options: { value: string; label: string }[]; loading: boolean }) {
  const { t } = useI18n();
  const clear = useClear();
  return (
    <Select<string | string[]>
      showSearch={{ optionFilterProp: "label" }}
      notFoundContent={t("picker.none")}
      placeholder={t("picker.choose")}
      allowClear={allowClear && clear}
      {...props}
    />
  );
}
