import { Skeleton } from "antd";
import { useGet, useList, useProject } from "@/api/queries";
import type { Evaluation, Pipeline, Run, Summary } from "@/api/types";
import { useI18n } from "@/i18n";
import { formatCost, formatNumber } from "@/i18n/format";
import { Page, Panel } from "@/ui/Page";
import { Trouble } from "@/ui/Trouble";
import { LastLap } from "./LastLap";
import { Loop } from "./Loop";
import { Running } from "./Running";
import { Waiting } from "./Waiting";
import "./home.css";

/** Milliseconds; progress of runs comes without an event. */
const POLL = 5000;

/** The loop at a glance: what there is, what runs, what waits for whoever looks. */
export function Home() {
  const { t } = useI18n();
  const project = useProject();
  const path = `/projects/${project}`;
  const summary = useGet<Summary>(`${path}/summary`, {}, { refetchInterval: 15_000 });
  const laps = useList<"pipelines", Pipeline>(`${path}/pipelines`, { page_size: 5 }, { refetchInterval: POLL });
  const runs = useList<"runs", Run>(`${path}/runs`, { page_size: 10 }, { refetchInterval: POLL });
  const evaluations = useList<"evaluations", Evaluation>(
    `${path}/evaluations`,
    { page_size: 100 },
    { refetchInterval: POLL },
  );
  const lap = laps.data?.pipelines[0];

  return (
    <Page title={t("home.title")} lead={t("home.lead")}>
      {summary.isError ? (
        <Trouble error={summary.error} retry={() => summary.refetch()} />
      ) : (
        <section className="panel loop-panel" aria-label={t("home.loop")}>
          {summary.data ? (
            <Loop
              summary={summary.data}
              lap={lap}
              runs={runs.data?.runs ?? []}
              evaluations={evaluations.data?.evaluations ?? []}
            >
              <LastLap lap={lap} evaluations={evaluations.data?.evaluations ?? []} loading={evaluations.isPending} />
            </Loop>
          ) : (
            <Skeleton active paragraph={{ rows: 8 }} />
          )}
        </section>
      )}
      <div className="home-columns">
        <Waiting summary={summary.data} lap={lap} runs={runs.data?.runs ?? []} />
        <Running
          runs={runs.data?.runs ?? []}
          laps={laps.data?.pipelines ?? []}
          evaluations={evaluations.data?.evaluations ?? []}
          loading={runs.isPending}
        />
        <Spend summary={summary.data} lap={lap} />
      </div>
    </Page>
  );
}

function Spend({ summary, lap }: { summary?: Summary; lap?: Pipeline }) {
  const { t, language } = useI18n();
  const cost = (microusd: number) => formatCost(language, microusd);
  return (
    <Panel title={t("home.spend")}>
      {summary ? (
        <dl className="spend">
          <div>
            <dt>{t("home.spendTotal")}</dt>
            <dd className="figure-big">{summary.spend_microusd === null ? "–" : cost(summary.spend_microusd)}</dd>
          </div>
          <div>
            <dt>{t("home.spendLap")}</dt>
            <dd className="figure-big">{lap ? cost(Number(lap.cost_microusd)) : "–"}</dd>
          </div>
          <div>
            <dt>{t("home.workloads")}</dt>
            <dd className="figure-big">{formatNumber(language, summary.counts.workloads ?? 0)}</dd>
          </div>
        </dl>
      ) : (
        <Skeleton active title={false} />
      )}
    </Panel>
  );
}
