import { useProject } from "@/api/queries";
import type { RuleOutcome, Verdict } from "@/api/types";
import { useI18n } from "@/i18n";
import { formatPercent, formatPoints } from "@/i18n/format";
import { Actor } from "@/ui/Actor";
import { Empty } from "@/ui/Empty";
import { Ref } from "@/ui/Id";
import { DifferenceBar } from "@/ui/interval/IntervalChart";
import { ResourceTable } from "@/ui/ResourceTable";
import { State } from "@/ui/State";
import { Time } from "@/ui/values";
import "./evaluations.css";

export function Verdicts() {
  const { t } = useI18n();
  const project = useProject();
  return (
    <ResourceTable<Verdict>
      path={`/projects/${project}/verdicts`}
      field="verdicts"
      rowKey={(verdict) => verdict.name}
      empty={<Empty title={t("verdicts.empty")} hint={t("verdicts.emptyHint")} />}
      expandable={{ expandedRowRender: (verdict) => <Outcomes outcomes={verdict.outcomes} />, expandRowByClick: true }}
      columns={[
        {
          key: "number",
          title: t("column.number"),
          sort: "number",
          align: "right",
          render: (verdict) => <span className="num">{verdict.number}</span>,
        },
        {
          key: "status",
          title: t("verdicts.verdict"),
          sort: "state",
          render: (verdict) => <State value={verdict.state} />,
        },
        {
          key: "candidate",
          title: t("verdicts.candidate"),
          render: (verdict) => <Ref name={verdict.candidate_variant} />,
        },
        {
          key: "baseline",
          title: t("verdicts.baseline"),
          render: (verdict) => <Ref name={verdict.baseline_variant} />,
        },
        { key: "rules", title: t("verdicts.rules"), render: (verdict) => <Held outcomes={verdict.outcomes} /> },
        {
          key: "created",
          title: t("column.created"),
          sort: "create_time",
          render: (verdict) => <Time value={verdict.create_time} />,
        },
        { key: "by", title: t("column.by"), render: (verdict) => <Actor value={verdict.created_by} /> },
      ]}
    />
  );
}

function Held({ outcomes }: { outcomes: RuleOutcome[] }) {
  const { t } = useI18n();
  return (
    <span className="num">
      {t("verdicts.held", { held: outcomes.filter((one) => one.passed).length, all: outcomes.length })}
    </span>
  );
}

/** Each rule: the difference with its interval, and the bound that it had to keep. */
export function Outcomes({ outcomes }: { outcomes: RuleOutcome[] }) {
  const { t, word, language } = useI18n();
  const points = (value: number) => formatPoints(language, value);
  return (
    <table className="outcomes">
      <thead>
        <tr>
          <th>{t("verdicts.rule")}</th>
          <th />
          <th className="right">{t("verdicts.difference")}</th>
          <th className="right">{t("verdicts.interval")}</th>
          <th className="right">{t("verdicts.bound")}</th>
          <th className="right">{t("verdicts.values")}</th>
          <th>{t("verdicts.verdict")}</th>
        </tr>
      </thead>
      <tbody>
        {outcomes.map((outcome) => (
          <tr key={`${outcome.rule?.slice} ${outcome.rule?.metric}`}>
            <td>
              <RuleText slice={outcome.rule?.slice ?? ""} />{" "}
              <span className="quiet">{word("metric", outcome.rule?.metric || "exact")}</span>
            </td>
            <td>
              <DifferenceBar {...outcome} bound={outcome.rule?.min_lower_bound ?? 0} />
            </td>
            <td className="right num">
              <b>{points(outcome.difference)}</b>
            </td>
            <td className="right num">
              {points(outcome.lower)} … {points(outcome.upper)}
            </td>
            <td className="right num">&gt; {points(outcome.rule?.min_lower_bound ?? 0)}</td>
            <td className="right num">
              {formatPercent(language, outcome.baseline_value)} → {formatPercent(language, outcome.candidate_value)}{" "}
              <span className="quiet">n = {outcome.count}</span>
            </td>
            <td>
              <State value={outcome.passed ? "PASSED" : "FAILED"} why={outcome.reason} />
            </td>
          </tr>
        ))}
      </tbody>
    </table>
  );
}

/** `!new` is said as "all but new". */
export function RuleText({ slice }: { slice: string }) {
  const { t } = useI18n();
  if (!slice) return <>{t("evaluations.allRows")}</>;
  return <>{slice.startsWith("!") ? t("verdicts.allBut", { slice: slice.slice(1) }) : slice}</>;
}
