import { bare } from "@/api/names";
import { useGet, useProject } from "@/api/queries";
import type { CostReport, CostRow } from "@/api/types";
import { useI18n } from "@/i18n";
import { formatCost, formatDuration } from "@/i18n/format";
import { Panel } from "@/ui/Page";
import { SkeletonRows } from "@/ui/ResourceTable";
import { Trouble } from "@/ui/Trouble";

const REFRESH = 30_000;

/** What own machines cost in the period: prices of cores and cards times the time that they were held. */
export function Machines({ start }: { start: Date }) {
  const { t, word, language } = useI18n();
  const project = useProject();
  const path = `/projects/${project}/costs`;
  const costs = useGet<CostReport>(path, { start_time: start.toISOString() }, { refetchInterval: REFRESH });
  const kinds = byKind(costs.data?.rows ?? []);
  return (
    <Panel title={t("costs.machines")}>
      {costs.isError ? (
        <Trouble error={costs.error} retry={() => costs.refetch()} />
      ) : costs.isPending ? (
        <SkeletonRows columns={3} rows={2} />
      ) : (
        <div className="stack-s">
          {kinds.length === 0 && <span className="quiet">{t("costs.noMachines")}</span>}
          {kinds.map((one) => (
            <div key={one.kind} className="row">
              <span className="grow">{word("kind", bare(one.kind))}</span>
              <span className="quiet num">{formatDuration(language, one.held)}</span>
              <span className="num">{formatCost(language, one.cost)}</span>
            </div>
          ))}
          <p className="quiet">{t("costs.machinesHint")}</p>
        </div>
      )}
    </Panel>
  );
}

function byKind(rows: readonly CostRow[]) {
  const found = new Map<string, { kind: string; held: number; cost: number }>();
  for (const row of rows) {
    const sum = found.get(row.kind) ?? { kind: row.kind, held: 0, cost: 0 };
    found.set(row.kind, { ...sum, held: sum.held + row.held_seconds, cost: sum.cost + Number(row.cost_microusd) });
  }
  return [...found.values()].sort((one, other) => other.cost - one.cost);
}
