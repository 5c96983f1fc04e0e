import { useMutation } from "@tanstack/react-query";
import { post } from "@/api/client";
import { useMay } from "@/api/queries";
import type { WhatIfReport } from "@/api/types";
import { useI18n } from "@/i18n";
import { Empty } from "@/ui/Empty";
import { Page, Panel } from "@/ui/Page";
import { SkeletonRows } from "@/ui/ResourceTable";
import { Trouble } from "@/ui/Trouble";
import { Answer } from "./Answer";
import { questionOf, type Typed } from "./figures";
import { Question } from "./Question";
import "./whatif.css";

/** What more nodes would have changed, or fewer: recent work, replayed on the nodes that there are and on those. */
export function WhatIf() {
  const { t } = useI18n();
  const mayAsk = useMay("ADMIN");
  const replay = useMutation({
    mutationFn: (typed: Typed) => post<WhatIfReport>("/nodes:whatIf", questionOf(typed)),
  });
  return (
    <Page title={t("whatif.title")} lead={t("whatif.lead")}>
      {mayAsk ? (
        <>
          <Panel title={t("whatif.question")}>
            <Question busy={replay.isPending} onAsk={replay.mutate} />
          </Panel>
          <Panel title={t("whatif.answer")}>
            {replay.isPending ? (
              <div role="status">
                <p className="quiet">{t("whatif.replaying")}</p>
                <SkeletonRows columns={4} rows={6} />
              </div>
            ) : replay.isError ? (
              <Trouble error={replay.error} retry={() => replay.variables && replay.mutate(replay.variables)} />
            ) : replay.data ? (
              <Answer report={replay.data} />
            ) : (
              <Empty title={t("whatif.nothingAsked")} hint={t("whatif.nothingAskedHint")} />
            )}
          </Panel>
        </>
      ) : (
        <Panel>
          <Empty title={t("whatif.adminsOnly")} hint={t("whatif.adminsOnlyHint")} />
        </Panel>
      )}
    </Page>
  );
}
