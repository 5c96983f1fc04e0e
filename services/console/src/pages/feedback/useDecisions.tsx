import { Button } from "antd";
import { useRef } from "react";
import { post } from "@/api/client";
import { useChange } from "@/api/queries";
import type { Feedback } from "@/api/types";
import { useI18n } from "@/i18n";
import { useReport } from "@/ui/useConfirm";
import { useMessage } from "@/ui/useMessage";

export interface Decisions {
  approve: (feedback: Feedback, edit: string, slice: string) => void;
  reject: (feedback: Feedback, reason: string) => void;
  reopen: (feedback: Feedback) => void;
  /** Takes back the last decision of this sitting. */
  undo: () => void;
  busy: boolean;
}

/** One message at a time: the newest decision, or its undoing. */
const MESSAGE = "decision";

/** Claims and decides in one go, moves on, and can take it back. */
export function useDecisions(next: () => void): Decisions {
  const { t } = useI18n();
  const message = useMessage();
  const report = useReport();
  const past = useRef<Feedback[]>([]);
  const decide = useChange(
    ["feedback"],
    async ({ feedback, verb, body }: { feedback: Feedback; verb: string; body: object }) => {
      if (feedback.state !== "STATE_IN_REVIEW") await post(`/${feedback.name}:claim`);
      return post<Feedback>(`/${feedback.name}:${verb}`, body);
    },
  );
  const reopen = useChange(["feedback"], (feedback: Feedback) => post<Feedback>(`/${feedback.name}:reopen`));

  const undo = () => {
    const last = past.current.pop();
    if (!last) return;
    reopen.mutate(last, {
      onError: report,
      onSuccess: () => message.info({ key: MESSAGE, content: t("feedback.undone", { n: last.number }) }),
    });
  };
  const run = (feedback: Feedback, verb: "approve" | "reject", body: object) =>
    decide.mutate(
      { feedback, verb, body },
      {
        onError: report,
        onSuccess: (decided) => {
          past.current.push(decided);
          const text =
            verb === "approve"
              ? t("feedback.approved", { n: decided.number })
              : t("feedback.rejected", { n: decided.number });
          message.success({
            key: MESSAGE,
            content: (
              <span>
                {text}{" "}
                <Button type="link" size="small" onClick={undo}>
                  {t("action.undo")}
                </Button>
              </span>
            ),
            duration: 6,
          });
          next();
        },
      },
    );
  return {
    approve: (feedback, edit, slice) =>
      run(feedback, "approve", {
        edit: edit === feedback.correction ? "" : edit,
        slice: slice === feedback.slice ? "" : slice,
      }),
    reject: (feedback, reason) => run(feedback, "reject", { reason }),
    reopen: (feedback) => reopen.mutate(feedback, { onError: report }),
    undo,
    busy: decide.isPending || reopen.isPending,
  };
}
