import { Input, Select, Skeleton } from "antd";
import { useEffect, useId } from "react";
import { Link } from "react-router";
import { lastPart } from "@/api/names";
import { useGet, useList, useProject } from "@/api/queries";
import type { Prompt, PromptVersion } from "@/api/types";
import { useI18n } from "@/i18n";
import { Panel } from "@/ui/Page";
import { Trouble } from "@/ui/Trouble";
import type { PromptChoice } from "./address";

/** As many as a project may have. */
const MOST = 200;

interface Props {
  chosen?: PromptChoice;
  variables: Record<string, string>;
  onChoose: (prompt?: PromptChoice) => void;
  onVariables: (variables: Record<string, string>) => void;
}

/** A prompt of the project in place of a system message: which version, and what stands for its variables. */
export function PromptPanel({ chosen, variables, onChoose, onVariables }: Props) {
  const { t } = useI18n();
  const project = useProject();
  const list = useList<"prompts", Prompt>(`/projects/${project}/prompts`, { page_size: MOST, order_by: "name" });
  const prompts = list.data?.prompts ?? [];
  const prompt = prompts.find((one) => lastPart(one.name) === chosen?.id);
  if (list.isSuccess && !prompts.length && !chosen) return null;
  return (
    <Panel
      title={t("playground.prompt")}
      extra={chosen && <Link to={`/p/${project}/prompts/${chosen.id}`}>{t("action.open")}</Link>}
    >
      <div className="stack">
        <Select<string>
          showSearch={{ optionFilterProp: "label" }}
          aria-label={t("playground.prompt")}
          loading={list.isPending}
          value={chosen?.id ?? ""}
          onChange={(id) => onChoose(id ? { id, version: firstVersion(prompts, id) } : undefined)}
          options={[
            { value: "", label: t("playground.noPrompt") },
            ...prompts.map((one) => ({ value: lastPart(one.name), label: one.display_name || lastPart(one.name) })),
          ]}
        />
        {chosen && prompt && (
          <>
            <Select<string>
              showSearch
              aria-label={t("playground.promptVersion")}
              value={chosen.version || firstVersion(prompts, chosen.id)}
              onChange={(version) => onChoose({ ...chosen, version })}
              options={[
                ...Object.entries(prompt.labels).map(([label, number]) => ({
                  value: label,
                  label: `${label} → ${t("prompts.version", { n: number })}`,
                })),
                ...Array.from({ length: prompt.newest_version }, (_, at) => prompt.newest_version - at).map(
                  (number) => ({
                    value: String(number),
                    label: t("prompts.version", { n: number }),
                  }),
                ),
              ]}
            />
            <Variables prompt={prompt} version={chosen.version} values={variables} onChange={onVariables} />
            <p className="quiet">{t("playground.promptHint")}</p>
          </>
        )}
        {list.isError && <Trouble error={list.error} retry={() => list.refetch()} />}
      </div>
    </Panel>
  );
}

function firstVersion(prompts: readonly Prompt[], id: string): string {
  const prompt = prompts.find((one) => lastPart(one.name) === id);
  return prompt?.labels.production ? "production" : String(prompt?.newest_version ?? "");
}

function Variables(props: {
  prompt: Prompt;
  /** A number or a label. */
  version: string;
  values: Record<string, string>;
  onChange: (values: Record<string, string>) => void;
}) {
  const { prompt, values, onChange } = props;
  const field = useId();
  const number = prompt.labels[props.version] ?? (Number(props.version) || prompt.newest_version);
  const version = useGet<PromptVersion>(`/${prompt.name}/versions/${number}`);
  const names = version.data?.variables;
  useEffect(() => {
    if (!names) return;
    const wanted = Object.fromEntries(names.map((name) => [name, values[name] ?? ""]));
    if (JSON.stringify(wanted) !== JSON.stringify(values)) onChange(wanted);
  }, [names, values, onChange]);
  if (version.isError) return <Trouble error={version.error} retry={() => version.refetch()} />;
  if (!names) return <Skeleton active title={false} paragraph={{ rows: 2 }} />;
  return names.map((name) => (
    <div key={name} className="setting">
      <label htmlFor={`${field}${name}`} className="mono">
        {name}
      </label>
      <Input.TextArea
        id={`${field}${name}`}
        value={values[name] ?? ""}
        autoSize={{ minRows: 1, maxRows: 8 }}
        onChange={(event) => onChange({ ...values, [name]: event.target.value })}
      />
    </div>
  ));
}
