import { useQuery } from "@tanstack/react-query";
import { useMemo } from "react";
import { get } from "@/api/client";
import { queryKey } from "@/api/queries";
import type { ClusterUtilisation, UtilisationStep } from "@/api/types";
import { useI18n } from "@/i18n";
import { formatPercent } from "@/i18n/format";
import { frame } from "@/pages/costs/chart";
import { useTheme } from "@/theme";
import { Plot } from "@/ui/chart/Plot";
import { Empty } from "@/ui/Empty";
import { Facts, Panel } from "@/ui/Page";
import { SkeletonRows } from "@/ui/ResourceTable";
import { Trouble } from "@/ui/Trouble";
import { Num } from "@/ui/values";

const DAY_MS = 86_400_000;
const REFRESH = 30_000;
const HEIGHT = 220;
const PATH = "/utilisation";

/** How much of cards and cores was held in the last day, and what is free and of no use. */
export function Utilisation() {
  const { t } = useI18n();
  const told = useQuery({
    queryKey: queryKey(PATH, { of: "the last day" }),
    queryFn: ({ signal }) => {
      const start_time = new Date(Date.now() - DAY_MS).toISOString();
      return get<ClusterUtilisation>(PATH, { start_time, step: "STEP_HOUR" }, signal);
    },
    refetchInterval: REFRESH,
  });
  const fragments = told.data?.fragmentation;
  const known = told.data?.steps.some((step) => step.core_capacity_seconds > 0);
  return (
    <Panel title={t("cluster.utilisation")}>
      {told.isError ? (
        <Trouble error={told.error} retry={() => told.refetch()} />
      ) : told.isPending ? (
        <SkeletonRows columns={4} rows={3} />
      ) : (
        <div className="stack">
          {known ? (
            <Lines steps={told.data.steps} />
          ) : (
            <Empty title={t("cluster.noHistory")} hint={t("cluster.noHistoryHint")} />
          )}
          <Facts
            rows={[
              [t("cluster.freeCards"), <Num value={fragments?.free_cards ?? 0} />],
              [t("cluster.stranded"), <Num value={fragments?.stranded_cards ?? 0} />],
            ]}
          />
          <p className="quiet">
            {fragments?.smallest_gang_cards
              ? t("cluster.strandedHint", { n: fragments.smallest_gang_cards })
              : t("cluster.noWaiting")}{" "}
            {told.data.steps.some((step) => step.simulated_card_capacity_seconds > 0) && t("cluster.simulatedPart")}
          </p>
        </div>
      )}
    </Panel>
  );
}

function Lines({ steps }: { steps: UtilisationStep[] }) {
  const { t, language } = useI18n();
  const { palette } = useTheme();
  const hasCards = steps.some((step) => step.card_capacity_seconds > 0);
  const option = useMemo(() => {
    const show = (value: number) => formatPercent(language, value, 0);
    const look = frame(palette, show);
    const line = (name: string, color: string, values: (number | null)[]) => ({
      type: "line",
      name,
      step: "start",
      showSymbol: false,
      animation: false,
      lineStyle: { width: 2, color },
      itemStyle: { color },
      data: steps.map((step, at) => [Date.parse(step.start_time ?? ""), values[at]]),
    });
    const cards = steps.map((step) => step.card_utilisation ?? null);
    const cores = steps.map((step) => step.core_utilisation ?? null);
    return {
      ...look,
      tooltip: {
        ...look.tooltip,
        valueFormatter: (value: unknown) => (typeof value === "number" ? show(value) : "–"),
      },
      yAxis: { ...look.yAxis, min: 0, minInterval: 0.25, max: ({ max }: { max: number }) => Math.max(1, max) },
      xAxis: {
        type: "time",
        axisLine: { lineStyle: { color: palette.line } },
        axisLabel: { color: palette.ink3, fontSize: 11, hideOverlap: true },
      },
      series: [
        ...(hasCards ? [line(t("cluster.cards"), palette.accent, cards)] : []),
        line(t("cluster.coresLine"), palette.info, cores),
      ],
    };
  }, [steps, hasCards, language, palette, t]);
  const share = (
    held: "card_held_seconds" | "core_held_seconds",
    of: "card_capacity_seconds" | "core_capacity_seconds",
  ) => {
    const all = steps.reduce((sum, step) => sum + step[of], 0);
    return all ? formatPercent(language, steps.reduce((sum, step) => sum + step[held], 0) / all) : "–";
  };
  return (
    <Plot
      option={option}
      height={HEIGHT}
      caption={t("cluster.utilisationCaption", {
        cards: share("card_held_seconds", "card_capacity_seconds"),
        cores: share("core_held_seconds", "core_capacity_seconds"),
      })}
    />
  );
}
