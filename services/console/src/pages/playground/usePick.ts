import { post } from "@/api/client";
import { requestId } from "@/api/names";
import { useChange, useProject } from "@/api/queries";
import type { Feedback, FeedbackRating } from "@/api/types";
import { useI18n } from "@/i18n";
import { useReport } from "@/ui/useConfirm";
import { useMessage } from "@/ui/useMessage";
import type { Round } from "./useChat";

interface Said {
  completion: string;
  rating: FeedbackRating;
  correction?: string;
}

/** The picked answer is good, and what each of the others should have said: review makes pairs of it. */
export function preferences({ replies }: Round, picked: number): Said[] {
  const better = replies[picked]?.answer;
  if (!better?.id) return [];
  const others = replies.filter(
    ({ answer, state }, at) =>
      at !== picked && state === "done" && answer.id && answer.text.trim() !== better.text.trim(),
  );
  return [
    { completion: better.id, rating: "RATING_THUMBS_UP" },
    ...others.map(
      ({ answer }): Said => ({ completion: answer.id, rating: "RATING_THUMBS_DOWN", correction: better.text }),
    ),
  ];
}

/** Hands what was picked to review. */
export function usePick(remember: (round: Round, at: number) => void) {
  const { t } = useI18n();
  const message = useMessage();
  const project = useProject();
  const report = useReport();
  const send = useChange(["feedback"], (said: Said[]) =>
    Promise.all(
      said.map((body) => post<Feedback>(`/projects/${project}/feedback`, { request_id: requestId(), ...body })),
    ),
  );
  return (round: Round, at: number) =>
    send.mutate(preferences(round, at), {
      onError: report,
      onSuccess: () => {
        remember(round, at);
        message.success(t("playground.thanks"));
      },
    });
}
