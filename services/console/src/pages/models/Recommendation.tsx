import type { Comparison } from "@/api/types";
import { useI18n } from "@/i18n";
import { formatCost, formatNumber, formatPercent } from "@/i18n/format";
import { Panel } from "@/ui/Page";
import { calledIn, reasonOf } from "./candidates";

/** Which one to take, and why: said here, from the code and the figures, in the reader's language. */
export function Recommendation({ comparison }: { comparison: Comparison }) {
  const { t, word, language } = useI18n();
  const reason = reasonOf(comparison);
  if (!reason) return null;
  const { chosen, baseline, saved, worst } = reason;
  const points = (share: number) => formatNumber(language, share * 100, 1);
  const values = {
    what: calledIn(comparison, chosen),
    baseline: calledIn(comparison, baseline),
    cost: formatCost(language, Number(chosen.million_tokens_microusd)),
    saved: formatPercent(language, saved, 0),
    worst: points(worst),
    margin: points(comparison.margin),
  };
  return (
    <Panel title={t("quantisations.recommended")}>
      <p>
        <strong>{values.what}</strong> · {word("reason", comparison.recommendation_reason)}
      </p>
      <p className="second">
        {comparison.recommendation_reason === "BASELINE_BEST"
          ? t("quantisations.whyBaseline", values)
          : t("quantisations.whyCheapest", values)}
      </p>
    </Panel>
  );
}
