import { SearchOutlined } from "@ant-design/icons";
import { Button, Input, Select } from "antd";
import { useNavigate, useSearchParams } from "react-router";
import { lastPart, shortName } from "@/api/names";
import { useGet, useProject } from "@/api/queries";
import type { Project, Trace } from "@/api/types";
import { useI18n } from "@/i18n";
import { formatMs } from "@/i18n/format";
import { Empty } from "@/ui/Empty";
import { Ref } from "@/ui/Id";
import { Page } from "@/ui/Page";
import { DeploymentPicker } from "@/ui/Pickers";
import { ResourceTable } from "@/ui/ResourceTable";
import { withParam } from "@/ui/Search";
import { Cost, Nothing, Num, Time } from "@/ui/values";

const FILTERS = ["deployment", "session", "rating", "with_error", "min_duration_ms", "since"] as const;
type Filter = (typeof FILTERS)[number];
const SLOW = ["1000", "5000", "30000"];
const HOURS = ["1", "24", "168"];
const HOUR_MS = 3_600_000;
/** Times are asked for to the minute, so that a list that is drawn again asks the same question. */
const MINUTE_MS = 60_000;

export function Traces() {
  const { t, language } = useI18n();
  const project = useProject();
  const navigate = useNavigate();
  const [address, setAddress] = useSearchParams();
  const value = (name: Filter) => address.get(name) ?? "";
  const set = (name: Filter, text: string) => setAddress((before) => withParam(before, name, text), { replace: true });
  const filtered = FILTERS.some(value);
  const { since, ...plain } = Object.fromEntries(FILTERS.map((name) => [name, value(name)]));
  const begun = Math.floor((Date.now() - Number(since) * HOUR_MS) / MINUTE_MS) * MINUTE_MS;
  const params = { ...plain, start_time: since ? new Date(begun).toISOString() : "" };
  return (
    <Page title={t("traces.title")} lead={t("traces.lead")}>
      <ResourceTable<Trace>
        path={`/projects/${project}/traces`}
        field="traces"
        params={params}
        pageSize={30}
        rowKey={(trace) => trace.name}
        onRowClick={(trace) => navigate(lastPart(trace.name))}
        tools={
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
              value={value("since")}
              onChange={(one) => set("since", one)}
              options={HOURS.map((hours) => ({ value: hours, label: t("traces.hours", { n: Number(hours) }) }))}
            />
            <Choice
              label={t("traces.slower")}
              value={value("min_duration_ms")}
              onChange={(one) => set("min_duration_ms", one)}
              options={SLOW.map((one) => ({
                value: one,
                label: t("traces.over", { time: formatMs(language, Number(one)) }),
              }))}
            />
            <Choice
              label={t("traces.outcome")}
              value={value("with_error") || value("rating")}
              onChange={(one) =>
                setAddress(
                  (before) => {
                    withParam(before, "with_error", one === "true" ? one : "");
                    return withParam(before, "rating", one.startsWith("RATING") ? one : "");
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
          </>
        }
        empty={
          filtered ? (
            <Empty
              title={t("traces.noneSuch")}
              action={<Button onClick={() => setAddress({}, { replace: true })}>{t("traces.showAll")}</Button>}
            />
          ) : (
            <NothingYet />
          )
        }
        columns={[
          {
            key: "began",
            title: t("traces.began"),
            sort: "start_time",
            render: (trace) => <Time value={trace.start_time} />,
          },
          { key: "opening", title: t("traces.opening"), render: (trace) => <Opening trace={trace} /> },
          {
            key: "model",
            title: t("traces.answeredBy"),
            render: (trace) => <Ref name={trace.model_version || trace.deployment} />,
          },
          {
            key: "steps",
            title: t("traces.steps"),
            align: "right",
            render: (trace) => <Num value={trace.completion_count + trace.span_count} />,
          },
          {
            key: "errors",
            title: t("traces.errors"),
            sort: "error_count",
            align: "right",
            render: (trace) => (trace.error_count ? <Num value={trace.error_count} /> : <Nothing />),
          },
          {
            key: "duration",
            title: t("traces.took"),
            sort: "duration_ms",
            align: "right",
            render: (trace) => <span className="num nowrap">{formatMs(language, trace.duration_ms)}</span>,
          },
          {
            key: "tokens",
            title: t("traces.tokens"),
            sort: "total_tokens",
            align: "right",
            render: (trace) => <Num value={trace.total_tokens} />,
          },
          {
            key: "cost",
            title: t("column.cost"),
            sort: "cost_microusd",
            align: "right",
            render: (trace) => <Cost microusd={String(trace.cost_microusd)} />,
          },
        ]}
      />
    </Page>
  );
}

function Choice(props: {
  label: string;
  value: string;
  onChange: (value: string) => void;
  options: { value: string; label: string }[];
}) {
  return (
    <Select
      allowClear
      aria-label={props.label}
      placeholder={props.label}
      style={{ minWidth: 130 }}
      value={props.value || undefined}
      onChange={(one) => props.onChange(one ?? "")}
      options={props.options}
    />
  );
}

function Opening({ trace }: { trace: Trace }) {
  const { t } = useI18n();
  const text = trace.opening || (trace.completion_count ? shortName(trace.deployment) : t("traces.spansOnly"));
  return (
    <div className="ellipsis" style={{ maxWidth: 380 }}>
      {text}
    </div>
  );
}

/** Nothing was kept: because nobody asked, or because nobody consented. */
function NothingYet() {
  const { t } = useI18n();
  const project = useProject();
  const settings = useGet<Project>(`/projects/${project}`);
  const keeps = settings.data?.consent_to_keep ?? true;
  return <Empty title={t("traces.empty")} hint={t(keeps ? "traces.emptyHint" : "traces.noConsent")} />;
}
