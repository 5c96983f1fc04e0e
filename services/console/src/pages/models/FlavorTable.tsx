import { Button, Table } from "antd";
import { post } from "@/api/client";
import { lastPart, requestId, shortName } from "@/api/names";
import { useChange, useGet, useMay, useProject } from "@/api/queries";
import type { Comparison, FlavorCost, FlavorCosts } from "@/api/types";
import { useI18n } from "@/i18n";
import { formatPercent } from "@/i18n/format";
import { Panel } from "@/ui/Page";
import { useReport } from "@/ui/useConfirm";
import { Cost, Nothing } from "@/ui/values";

interface Row {
  flavor: string;
  cost?: FlavorCost;
}

/**
 * What the candidates cost on each flavor, as far as they were measured there. A price alone tells no cost: how fast a
 * flavor is, nobody knows before.
 */
export function FlavorTable({
  comparison,
  onChoose,
}: {
  comparison: Comparison;
  onChoose: (comparison: string) => void;
}) {
  const { t, language } = useI18n();
  const project = useProject();
  const mayStart = useMay("ENGINEER");
  const report = useReport();
  const found = useGet<{ flavors: FlavorCosts[] }>(`/${comparison.name}/flavor-costs`);
  const measure = useChange(["evaluation", "model_registry", "gpu_scheduler"], (flavor: string) =>
    post<Comparison>(`/projects/${project}/comparisons`, sameOn(comparison, flavor)),
  );
  const start = (flavor: string) =>
    measure.mutate(flavor, { onSuccess: (made) => onChoose(made.name), onError: report });
  if (!found.data) return null; // a scheduler that is away says so elsewhere
  return (
    <Panel title={t("flavors.title")} flush>
      <Table<Row>
        size="small"
        rowKey={(row) => `${row.flavor}/${row.cost?.variant ?? ""}`}
        dataSource={rowsOf(found.data.flavors)}
        pagination={false}
        scroll={{ x: "max-content" }}
        columns={[
          { title: t("flavors.flavor"), render: (_, row) => <span className="mono">{lastPart(row.flavor)}</span> },
          {
            title: t("models.variant"),
            render: (_, { cost }) =>
              cost ? (
                <span className="row">
                  <span className="mono">{comparison.version ? cost.quantisation : shortName(cost.variant)}</span>
                  {cost.on_front && <span className="chip accent">{t("flavors.front")}</span>}
                </span>
              ) : (
                <span className="quiet">{t("flavors.unmeasured")}</span>
              ),
          },
          {
            title: t("quantisations.millionTokens"),
            align: "right",
            render: (_, { cost }) => (cost ? <Cost microusd={cost.million_tokens_microusd} /> : <Nothing />),
          },
          {
            title: t("flavors.score"),
            align: "right",
            render: (_, { cost }) =>
              cost ? <span className="num">{formatPercent(language, cost.score)}</span> : <Nothing />,
          },
          {
            title: "",
            render: (_, { flavor, cost }) =>
              cost && cost.comparison !== comparison.name ? (
                <Button size="small" type="text" onClick={() => onChoose(cost.comparison)}>
                  {t("flavors.show")}
                </Button>
              ) : (
                !cost &&
                mayStart && (
                  <Button size="small" loading={measure.isPending} onClick={() => start(flavor)}>
                    {t("flavors.measure")}
                  </Button>
                )
              ),
          },
        ]}
      />
    </Panel>
  );
}

/** A line for each figure, and one for a flavor that has none. */
export function rowsOf(flavors: FlavorCosts[]): Row[] {
  return flavors.flatMap(({ flavor, costs }): Row[] =>
    costs.length ? costs.map((cost) => ({ flavor, cost })) : [{ flavor }],
  );
}

/** The same question, to be measured on one flavor. */
export function sameOn(comparison: Comparison, flavor: string) {
  const { version, suite, baseline, metric, margin, calibration, candidates } = comparison;
  const unique = (values: string[]) => [...new Set(values)];
  const quantisations = unique(candidates.map((one) => one.quantisation));
  const what = version
    ? { version, baseline }
    : { versions: unique(candidates.map((one) => one.variant.split("/variants/")[0] ?? "")) };
  return { ...what, suite, calibration, metric, margin, quantisations, only_flavor: flavor, request_id: requestId() };
}
