import { Button } from "antd";
import { post } from "@/api/client";
import { useChange, useMay } from "@/api/queries";
import type { Comparison } from "@/api/types";
import { useI18n } from "@/i18n";
import { Panel } from "@/ui/Page";
import { ProgressBar } from "@/ui/ProgressBar";
import { isOpen } from "@/ui/State";
import { Failure } from "@/ui/Trouble";
import { useAskToRemove } from "@/ui/useConfirm";
import { CandidateTable } from "./CandidateTable";
import { FlavorTable } from "./FlavorTable";
import { ParetoChart } from "./ParetoChart";
import { ended, marksOf } from "./pareto";
import { Recommendation } from "./Recommendation";

/** A comparison from its progress to its recommendation. */
export function ComparisonView({
  comparison,
  onChoose,
}: {
  comparison: Comparison;
  onChoose: (comparison: string) => void;
}) {
  const { t } = useI18n();
  const marks = marksOf(comparison);
  return (
    <>
      <Failure reason={comparison.failure_reason} message={comparison.failure_message} />
      {isOpen(comparison.state) && <Progress comparison={comparison} />}
      {comparison.recommended && <Recommendation comparison={comparison} />}
      {marks.length > 1 && (
        <Panel title={t("quantisations.front")}>
          <ParetoChart comparison={comparison} />
        </Panel>
      )}
      <Panel title={t("quantisations.figures")} flush>
        <CandidateTable comparison={comparison} />
      </Panel>
      {comparison.recommended && <FlavorTable key={comparison.name} comparison={comparison} onChoose={onChoose} />}
    </>
  );
}

function Progress({ comparison }: { comparison: Comparison }) {
  const { t } = useI18n();
  const ask = useAskToRemove();
  const mayStop = useMay("ENGINEER");
  const stop = useChange(["evaluation"], () => post<Comparison>(`/${comparison.name}:cancel`));
  const what = t("quantisations.numbered", { n: comparison.number });
  return (
    <Panel>
      <div className="row">
        <span className="grow">
          <ProgressBar done={ended(comparison.candidates)} total={comparison.candidates.length} live />
        </span>
        {mayStop && (
          <Button size="small" onClick={() => ask.stop(what, () => stop.mutateAsync(undefined))}>
            {t("action.stop")}
          </Button>
        )}
      </div>
    </Panel>
  );
}
