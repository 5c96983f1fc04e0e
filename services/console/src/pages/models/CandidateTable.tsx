import { Table } from "antd";
import { bare } from "@/api/names";
import type { Candidate, Comparison } from "@/api/types";
import { useI18n } from "@/i18n";
import { formatMs, formatPercent, formatPoints } from "@/i18n/format";
import { State } from "@/ui/State";
import { Bytes, Cost, Nothing, Num } from "@/ui/values";
import { calledIn, isBaseline } from "./candidates";

/** Every figure of every candidate; what is not measured yet shows its state alone. */
export function CandidateTable({ comparison }: { comparison: Comparison }) {
  const { t, word, language } = useI18n();
  const measured = (render: (row: Candidate) => React.ReactNode) => (_: unknown, row: Candidate) =>
    bare(row.state) === "MEASURED" ? render(row) : <Nothing />;
  /** Differences are known once all are measured. */
  const judged = (render: (row: Candidate) => React.ReactNode) =>
    measured((row) => (comparison.recommended ? render(row) : <Nothing />));
  const right = { align: "right" as const };
  return (
    <Table<Candidate>
      size="small"
      rowKey="variant"
      dataSource={comparison.candidates}
      pagination={false}
      scroll={{ x: "max-content" }}
      columns={[
        {
          title: t("models.variant"),
          render: (_, row) => (
            <span className="row">
              <span className="mono">{calledIn(comparison, row)}</span>
              {row.variant === comparison.recommended && (
                <span className="chip accent">{t("quantisations.recommended")}</span>
              )}
              {row.calibrated && <span className="chip">{t("quantisations.calibrated")}</span>}
            </span>
          ),
        },
        { title: t("column.status"), render: (_, row) => <State value={row.state} why={row.failure_reason} /> },
        {
          title: t("quantisations.engine"),
          render: measured((row) => word("engine", row.cost?.engine || "LLAMA_CPP")),
        },
        { ...right, title: t("column.size"), render: (_, row) => <Bytes value={row.size_bytes} /> },
        {
          ...right,
          title: t("quantisations.memory"),
          render: measured((row) => <Bytes value={row.cost?.memory_bytes} />),
        },
        ...(comparison.candidates.some((row) => Number(row.cost?.card_memory_bytes ?? 0) > 0)
          ? [
              {
                ...right,
                title: t("quantisations.cardMemory"),
                render: measured((row: Candidate) => <Bytes value={row.cost?.card_memory_bytes} />),
              },
            ]
          : []),
        {
          ...right,
          title: word("metric", comparison.metric),
          render: measured(({ score }) => (
            <span className="num nowrap">
              {formatPercent(language, score?.value ?? 0)}{" "}
              <span className="quiet">
                {formatPercent(language, score?.lower ?? 0)}–{formatPercent(language, score?.upper ?? 0)}
              </span>
            </span>
          )),
        },
        {
          ...right,
          title: t("quantisations.difference"),
          render: judged((row) =>
            isBaseline(comparison, row) ? (
              <Nothing />
            ) : (
              <span className="num nowrap">
                {formatPoints(language, row.difference)}{" "}
                <span className="quiet">
                  {formatPoints(language, row.difference_lower)} … {formatPoints(language, row.difference_upper)}
                </span>
              </span>
            ),
          ),
        },
        {
          title: t("quantisations.within"),
          render: judged((row) => t(row.within_margin ? "quantisations.yes" : "quantisations.no")),
        },
        {
          ...right,
          title: t("quantisations.perplexity"),
          render: measured((row) => <Num value={row.cost?.perplexity} digits={4} />),
        },
        {
          ...right,
          title: t("quantisations.firstToken"),
          render: measured((row) => (
            <span className="num nowrap">
              {formatMs(language, row.cost?.time_to_first_token_p50_ms ?? 0)}{" "}
              <span className="quiet">{formatMs(language, row.cost?.time_to_first_token_p95_ms ?? 0)}</span>
            </span>
          )),
        },
        {
          ...right,
          title: t("quantisations.alone"),
          render: measured((row) => <Num value={row.cost?.single_tokens_per_second} />),
        },
        {
          ...right,
          title: t("quantisations.together"),
          render: measured((row) => <Num value={row.tokens_per_second} />),
        },
        {
          ...right,
          title: t("quantisations.millionTokens"),
          render: measured((row) => <Cost microusd={row.million_tokens_microusd} />),
        },
        {
          title: t("models.note"),
          render: (_, row) => (
            <span className="second variant-note" lang="en">
              {row.failure_message || row.note}
            </span>
          ),
        },
      ]}
    />
  );
}
