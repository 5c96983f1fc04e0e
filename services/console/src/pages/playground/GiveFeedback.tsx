import { DislikeFilled, DislikeOutlined, EditOutlined, LikeFilled, LikeOutlined } from "@ant-design/icons";
import { Button, Input, Tooltip } from "antd";
import { useState } from "react";
import type { Answer } from "@/api/chat";
import { post } from "@/api/client";
import { requestId } from "@/api/names";
import { useChange, useProject } from "@/api/queries";
import type { Feedback, FeedbackRating } from "@/api/types";
import { useI18n } from "@/i18n";
import { useReport } from "@/ui/useConfirm";
import { useMessage } from "@/ui/useMessage";

type Said = "RATING_THUMBS_UP" | "RATING_THUMBS_DOWN";

/** Thumbs and a correction of one answer. */
export function GiveFeedback({ answer }: { answer: Answer }) {
  const { t } = useI18n();
  const message = useMessage();
  const project = useProject();
  const report = useReport();
  const [said, setSaid] = useState<Said | null>(null);
  const [correction, setCorrection] = useState<string | null>(null);
  const [slice, setSlice] = useState("");
  const [sent, setSent] = useState(false);
  const send = useChange(["feedback"], (body: { rating: FeedbackRating; correction?: string; slice?: string }) =>
    post<Feedback>(`/projects/${project}/feedback`, { completion: answer.id, request_id: requestId(), ...body }),
  );
  const thank = (remember: () => void) => {
    remember();
    message.success(t("playground.thanks"));
  };
  const rate = (rating: Said) =>
    send.mutate({ rating }, { onError: report, onSuccess: () => thank(() => setSaid(rating)) });
  const correct = () =>
    send.mutate(
      { rating: "RATING_THUMBS_DOWN", correction: correction ?? "", slice },
      {
        onError: report,
        onSuccess: () =>
          thank(() => {
            setSent(true);
            setCorrection(null);
          }),
      },
    );

  return (
    <div className="stack-s">
      <div className="row" style={{ gap: 2 }}>
        <Tooltip title={t("rating.THUMBS_UP")}>
          <Button
            type="text"
            size="small"
            disabled={said !== null || sent}
            aria-label={t("rating.THUMBS_UP")}
            icon={said === "RATING_THUMBS_UP" ? <LikeFilled aria-hidden /> : <LikeOutlined aria-hidden />}
            onClick={() => rate("RATING_THUMBS_UP")}
          />
        </Tooltip>
        <Tooltip title={t("rating.THUMBS_DOWN")}>
          <Button
            type="text"
            size="small"
            disabled={said !== null || sent}
            aria-label={t("rating.THUMBS_DOWN")}
            icon={said === "RATING_THUMBS_DOWN" ? <DislikeFilled aria-hidden /> : <DislikeOutlined aria-hidden />}
            onClick={() => rate("RATING_THUMBS_DOWN")}
          />
        </Tooltip>
        {sent ? (
          <span className="quiet">{t("playground.corrected")}</span>
        ) : (
          <Button
            type="text"
            size="small"
            icon={<EditOutlined aria-hidden />}
            onClick={() => setCorrection(correction === null ? answer.text : null)}
          >
            {t("playground.correct")}
          </Button>
        )}
      </div>
      {correction !== null && (
        <div className="stack-s exchange-correction">
          <Input.TextArea
            autoFocus
            className="mono"
            value={correction}
            aria-label={t("feedback.correction")}
            autoSize={{ minRows: 2, maxRows: 12 }}
            onChange={(event) => setCorrection(event.target.value)}
          />
          <div className="row">
            <Input
              size="small"
              value={slice}
              placeholder={t("playground.sliceHint")}
              aria-label={t("dataset.slice")}
              style={{ maxWidth: 240 }}
              onChange={(event) => setSlice(event.target.value)}
            />
            <span className="grow" />
            <Button size="small" onClick={() => setCorrection(null)}>
              {t("action.cancel")}
            </Button>
            <Button
              size="small"
              type="primary"
              loading={send.isPending}
              disabled={!correction.trim() || correction === answer.text}
              onClick={correct}
            >
              {t("playground.sendCorrection")}
            </Button>
          </div>
        </div>
      )}
    </div>
  );
}
