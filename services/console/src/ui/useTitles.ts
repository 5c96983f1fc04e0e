import { useMemo } from "react";
import { bare } from "@/api/names";
import type { Evaluation, Pipeline, Run, Workload } from "@/api/types";
import { useI18n } from "@/i18n";

/** Names that the services give where nobody gave one; they are said in the reader's language instead. */
const NUMBERED_LAP = /^Lap (\d+)$/;
const RUN_OF_LAP = /^(.+): (?:SFT|DPO)$/;
const EVALUATION_OF_LAP = /^(.+): (baseline|candidate), (.+)$/;
const OF_METHOD = /^[A-Z]+ · /;

/** What people call a piece of work: the name that somebody gave it, else what it is and its number. */
export function useTitles() {
  const { t, word } = useI18n();
  return useMemo(() => {
    const lapTitle = (title: string) => {
      const [, n] = NUMBERED_LAP.exec(title) ?? [];
      return n ? t("pipelines.numbered", { n }) : title;
    };
    return {
      lap: (lap: Pipeline) => lapTitle(lap.display_name || `Lap ${lap.number}`),
      run: (run: Run) => {
        const method = word("method", bare(run.spec?.method ?? ""));
        const [, lap] = RUN_OF_LAP.exec(run.display_name) ?? [];
        if (lap) return t("runs.ofLap", { lap: lapTitle(lap), method });
        return run.display_name && !OF_METHOD.test(run.display_name) ? run.display_name : `${method} ${run.number}`;
      },
      evaluation: (one: Evaluation) => {
        const [, lap, side = "", suite = ""] = EVALUATION_OF_LAP.exec(one.display_name) ?? [];
        if (lap) return t("evaluations.ofLap", { lap: lapTitle(lap), side: word("stageFact", side), suite });
        return one.display_name || t("evaluations.numbered", { n: one.number });
      },
      // Services name their work themselves, by whom it is for; that has a column of its own.
      workload: (one: Workload) => `${word("kind", bare(one.spec?.kind ?? ""))} ${one.number}`,
    };
  }, [t, word]);
}
