import { FilterOutlined, SearchOutlined } from "@ant-design/icons";
import { Button, Input, Select } from "antd";
import { useId, useState } from "react";
import { useSearchParams } from "react-router";
import { lastPart } from "@/api/names";
import { useList, useProject } from "@/api/queries";
import type { ApiKey, Prompt } from "@/api/types";
import { useI18n } from "@/i18n";
import { formatMs, formatNumber } from "@/i18n/format";
import { DeploymentPicker, ModelVersionPicker } from "@/ui/Pickers";
import { withParam } from "@/ui/Search";
import { useClear } from "@/ui/useClear";
import { type Filter, fromLocal, rareCount, toLocal } from "./filters";

const SLOW = ["1000", "5000", "30000"];
const HOURS = ["1", "24", "168"];
const TOKENS = ["1000", "10000", "100000"];
const REASONS = ["stop", "length", "tool_calls", "content_filter", "upstream_error"];
/** More than a person scrolls through; the search in the box does the rest. */
const PAGE = 200;

/** What of a trace has to be true; all of it lives in the address. */
export function Filters() {
  const { t, language } = useI18n();
  const clear = useClear();
  const [address, setAddress] = useSearchParams();
  const { value, set } = useFilters();
  const rare = rareCount(address);
  const [open, setOpen] = useState(rare > 0);
  return (
    <>
      <DeploymentPicker
        allowClear
        aria-label={t("traces.deployment")}
        placeholder={t("traces.deployment")}
        style={{ minWidth: 150 }}
        value={value("deployment") || undefined}
        onChange={(one) => set("deployment", String(one ?? ""))}
      />
      <Choice
        label={t("traces.since")}
        name="since"
        options={HOURS.map((hours) => ({ value: hours, label: t("traces.hours", { n: Number(hours) }) }))}
      />
      <Choice
        label={t("traces.slower")}
        name="min_duration_ms"
        options={SLOW.map((one) => ({
          value: one,
          label: t("traces.over", { time: formatMs(language, Number(one)) }),
        }))}
      />
      <Select
        allowClear={clear}
        aria-label={t("traces.outcome")}
        placeholder={t("traces.outcome")}
        style={{ minWidth: 130 }}
        value={value("with_error") || value("rating") || undefined}
        onChange={(one?: string) =>
          setAddress(
            (before) => {
              withParam(before, "with_error", one === "true" ? one : "");
              return withParam(before, "rating", one?.startsWith("RATING") ? one : "");
            },
            { replace: true },
          )
        }
        options={[
          { value: "true", label: t("traces.withError") },
          { value: "RATING_THUMBS_DOWN", label: t("rating.THUMBS_DOWN") },
          { value: "RATING_THUMBS_UP", label: t("rating.THUMBS_UP") },
        ]}
      />
      <Input.Search
        enterButton={<SearchOutlined aria-label={t("table.search")} />}
        allowClear
        key={value("session")}
        defaultValue={value("session")}
        aria-label={t("traces.session")}
        placeholder={t("traces.session")}
        style={{ maxWidth: 180 }}
        onSearch={(one) => set("session", one.trim())}
      />
      <Button
        icon={<FilterOutlined aria-hidden />}
        aria-expanded={open}
        type={rare ? "primary" : "default"}
        ghost={rare > 0}
        onClick={() => setOpen(!open)}
      >
        {rare ? t("traces.moreSet", { n: rare }) : t("traces.more")}
      </Button>
      {open && <RareFilters />}
    </>
  );
}

function RareFilters() {
  const { t, language } = useI18n();
  const { value, set } = useFilters();
  return (
    <div className="trace-filters">
      <ModelVersionPicker
        allowClear
        aria-label={t("traces.model")}
        placeholder={t("traces.model")}
        value={value("model_version") || undefined}
        onChange={(one) => set("model_version", String(one ?? ""))}
      />
      <KeyChoice />
      <PromptChoice />
      <Choice
        label={t("traces.finish")}
        name="finish_reason"
        options={REASONS.map((one) => ({ value: one, label: t(`finish.${one}` as "finish.stop") }))}
      />
      <Choice
        label={t("traces.tokens")}
        name="min_total_tokens"
        options={TOKENS.map((one) => ({
          value: one,
          label: t("traces.tokensOver", { count: formatNumber(language, Number(one)) }),
        }))}
      />
      <Moment label={t("traces.from")} name="start_time" />
      <Moment label={t("traces.until")} name="end_time" />
    </div>
  );
}

function useFilters() {
  const [address, setAddress] = useSearchParams();
  return {
    value: (name: Filter) => address.get(name) ?? "",
    set: (name: Filter, text: string) => setAddress((before) => withParam(before, name, text), { replace: true }),
  };
}

interface ChoiceProps {
  label: string;
  name: Filter;
  options: { value: string; label: string }[];
}

function Choice({ label, name, options }: ChoiceProps) {
  const clear = useClear();
  const { value, set } = useFilters();
  return (
    <Select
      allowClear={clear}
      showSearch={{ optionFilterProp: "label" }}
      aria-label={label}
      placeholder={label}
      style={{ minWidth: 130 }}
      value={value(name) || undefined}
      onChange={(one?: string) => set(name, one ?? "")}
      options={options}
    />
  );
}

function KeyChoice() {
  const { t } = useI18n();
  const keys = useList<"keys", ApiKey>(`/projects/${useProject()}/keys`, { page_size: PAGE });
  const options = (keys.data?.keys ?? []).map((key) => ({
    value: key.name,
    label: key.display_name || `${key.prefix}…`,
  }));
  return <Choice label={t("traces.key")} name="api_key" options={options} />;
}

/** A prompt, and the version that the address names if it names one. */
function PromptChoice() {
  const { t } = useI18n();
  const { value } = useFilters();
  const prompts = useList<"prompts", Prompt>(`/projects/${useProject()}/prompts`, {
    page_size: PAGE,
    order_by: "name",
  });
  const options = (prompts.data?.prompts ?? []).map((prompt) => ({
    value: prompt.name,
    label: prompt.display_name || lastPart(prompt.name),
  }));
  const [whole, version] = value("prompt").split("/versions/");
  const title = options.find((one) => one.value === whole)?.label ?? lastPart(whole ?? "");
  if (version) options.push({ value: value("prompt"), label: `${title} · ${t("prompts.version", { n: version })}` });
  return <Choice label={t("playground.prompt")} name="prompt" options={options} />;
}

/** In the reader's own time. */
function Moment({ label, name }: { label: string; name: Filter }) {
  const id = useId();
  const { value, set } = useFilters();
  return (
    <span className="row" style={{ gap: 6 }}>
      <label htmlFor={id} className="quiet nowrap">
        {label}
      </label>
      <Input
        id={id}
        type="datetime-local"
        value={toLocal(value(name))}
        onChange={(event) => set(name, fromLocal(event.target.value))}
      />
    </span>
  );
}
