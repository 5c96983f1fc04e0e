import { Button } from "antd";
import { useNavigate, useSearchParams } from "react-router";
import { lastPart, shortName } from "@/api/names";
import { useGet, useProject } from "@/api/queries";
import type { ListReply, Project, Trace } from "@/api/types";
import { useI18n } from "@/i18n";
import { formatMs, formatTime } from "@/i18n/format";
import { Empty } from "@/ui/Empty";
import { Ref } from "@/ui/Id";
import { Page } from "@/ui/Page";
import { ResourceTable } from "@/ui/ResourceTable";
import { withParam } from "@/ui/Search";
import { Cost, Nothing, Num, Time } from "@/ui/values";
import { Filters } from "./Filters";
import { isFiltered, paramsOf } from "./filters";
import "./traces.css";

interface TracesReply extends ListReply {
  searched_back_to?: string | null;
}

export function Traces() {
  const { t, language } = useI18n();
  const project = useProject();
  const navigate = useNavigate();
  const [address, setAddress] = useSearchParams();
  const filtered = isFiltered(address);
  return (
    <Page title={t("traces.title")} lead={t("traces.lead")}>
      <ResourceTable<Trace>
        path={`/projects/${project}/traces`}
        field="traces"
        params={paramsOf(address, new Date())}
        pageSize={30}
        rowKey={(trace) => trace.name}
        onRowClick={(trace) => navigate(lastPart(trace.name))}
        tools={<Filters />}
        note={(reply) => <SearchedBack to={(reply as TracesReply).searched_back_to} />}
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

/** A search for text reads only so many answers: how far back it looked, and the way further. */
function SearchedBack({ to }: { to?: string | null }) {
  const { t, language } = useI18n();
  const [, setAddress] = useSearchParams();
  if (!to) return null;
  const further = () => setAddress((before) => withParam(before, "end_time", to), { replace: true });
  return (
    <p className="row wrap searched-back" role="status">
      <span>{t("traces.searchedBack", { time: formatTime(language, to) })}</span>
      <Button size="small" onClick={further}>
        {t("traces.further")}
      </Button>
    </p>
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
