import { CheckOutlined, CloseOutlined, EditOutlined, UndoOutlined } from "@ant-design/icons";
import { Button, Input, Skeleton } from "antd";
import type { TextAreaRef } from "antd/es/input/TextArea";
import { type ReactNode, useRef, useState } from "react";
import { bare, lastPart } from "@/api/names";
import { useGet, useMay, useProject } from "@/api/queries";
import type { Feedback } from "@/api/types";
import { useI18n } from "@/i18n";
import { Actor } from "@/ui/Actor";
import { Content, Conversation } from "@/ui/Conversation";
import { Ref } from "@/ui/Id";
import { Facts } from "@/ui/Page";
import { State } from "@/ui/State";
import { Trouble } from "@/ui/Trouble";
import { Nothing, Time } from "@/ui/values";
import { Rating } from "./FeedbackTable";
import type { Decisions } from "./useDecisions";
import { useReviewKeys } from "./useReviewKeys";

/** One piece of feedback: what was asked, what was answered, what it should have been. */
export function Reviewer({ id, decisions }: { id: string; decisions: Decisions }) {
  const project = useProject();
  const feedback = useGet<Feedback>(`/projects/${project}/feedback/${id}`);
  if (feedback.isPending) {
    return (
      <div className="panel-body">
        <Skeleton active paragraph={{ rows: 8 }} />
      </div>
    );
  }
  if (feedback.isError) {
    return (
      <div className="panel-body">
        <Trouble error={feedback.error} retry={() => feedback.refetch()} />
      </div>
    );
  }
  return <Review key={feedback.data.etag} feedback={feedback.data} decisions={decisions} />;
}

function Review({ feedback, decisions }: { feedback: Feedback; decisions: Decisions }) {
  const { t } = useI18n();
  const [correction, setCorrection] = useState(feedback.correction);
  const [slice, setSlice] = useState(feedback.slice);
  const [reason, setReason] = useState<string | null>(null);
  const editor = useRef<TextAreaRef>(null);
  const mayReview = useMay("REVIEWER");
  const state = bare(feedback.state);
  const open = mayReview && (state === "SUBMITTED" || state === "IN_REVIEW");
  const approve = () => open && !decisions.busy && decisions.approve(feedback, correction, slice);
  const reject = () =>
    open && !decisions.busy && (reason === null ? setReason("") : decisions.reject(feedback, reason));
  useReviewKeys({ a: approve, r: reject, e: () => open && editor.current?.focus({ cursor: "end" }) });

  return (
    <>
      <header className="panel-head">
        <h2 className="grow">
          {t("feedback.numbered", { n: feedback.number })} <Rating value={feedback.rating} />
        </h2>
        <State value={feedback.state} />
      </header>
      <div className="review-body">
        <Conversation turns={feedback.messages} />
        <Block title={t("feedback.answer")}>
          <div className="answer-box">
            <Content text={feedback.answer} />
          </div>
        </Block>
        {feedback.comment && <Block title={t("feedback.comment")}>{feedback.comment}</Block>}
        <Block title={t("feedback.correction")}>
          <Input.TextArea
            ref={editor}
            className="mono"
            aria-label={t("feedback.correction")}
            value={correction}
            autoSize={{ minRows: 3, maxRows: 14 }}
            readOnly={!open}
            placeholder={t("feedback.correctionHint")}
            onChange={(event) => setCorrection(event.target.value)}
            onKeyDown={(event) => {
              if (event.key === "Escape") event.currentTarget.blur();
              if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) approve();
            }}
          />
        </Block>
        <Facts
          list
          rows={[
            [
              t("dataset.slice"),
              open ? (
                <Input
                  size="small"
                  value={slice}
                  aria-label={t("dataset.slice")}
                  onChange={(event) => setSlice(event.target.value)}
                  style={{ maxWidth: 220 }}
                />
              ) : (
                feedback.slice || <Nothing />
              ),
            ],
            [
              t("feedback.answeredBy"),
              feedback.variant || feedback.model_version ? (
                <Ref name={feedback.variant || feedback.model_version} />
              ) : (
                <Ref name={feedback.deployment} />
              ),
            ],
            [t("traces.one"), <Ref name={feedback.completion} />],
            [t("feedback.submitter"), <Actor value={feedback.submitter} />],
            [t("column.created"), <Time value={feedback.create_time} />],
            feedback.reviewer !== "" && [t("feedback.reviewer"), <Actor value={feedback.reviewer} />],
            feedback.decide_time != null && [t("feedback.decided"), <Time value={feedback.decide_time} />],
            feedback.reject_reason !== "" && [t("feedback.rejectReason"), feedback.reject_reason],
          ]}
        />
      </div>
      <footer className="review-foot">
        {open && reason !== null && (
          <Input
            autoFocus
            value={reason}
            placeholder={t("feedback.rejectHint")}
            aria-label={t("feedback.rejectReason")}
            onChange={(event) => setReason(event.target.value)}
            onPressEnter={reject}
            onKeyDown={(event) => event.key === "Escape" && setReason(null)}
          />
        )}
        {open ? (
          <div className="row">
            <Button type="primary" icon={<CheckOutlined aria-hidden />} loading={decisions.busy} onClick={approve}>
              {correction === feedback.correction ? t("feedback.approve") : t("feedback.approveEdit")} <kbd>A</kbd>
            </Button>
            <Button
              danger={reason !== null}
              icon={<CloseOutlined aria-hidden />}
              disabled={decisions.busy}
              onClick={reject}
            >
              {t("feedback.reject")} <kbd>R</kbd>
            </Button>
            <Button icon={<EditOutlined aria-hidden />} onClick={() => editor.current?.focus({ cursor: "end" })}>
              {t("feedback.edit")} <kbd>E</kbd>
            </Button>
          </div>
        ) : (
          mayReview && <Reopen feedback={feedback} decisions={decisions} />
        )}
      </footer>
    </>
  );
}

function Reopen({ feedback, decisions }: { feedback: Feedback; decisions: Decisions }) {
  const { t } = useI18n();
  const state = bare(feedback.state);
  if (feedback.batch)
    return <span className="second">{t("feedback.batched", { batch: lastPart(feedback.batch).slice(-6) })}</span>;
  if (state !== "APPROVED" && state !== "REJECTED") return null;
  return (
    <Button icon={<UndoOutlined aria-hidden />} loading={decisions.busy} onClick={() => decisions.reopen(feedback)}>
      {t("feedback.reopen")}
    </Button>
  );
}

function Block({ title, children }: { title: string; children: ReactNode }) {
  return (
    <div className="stack-s" style={{ gap: 4 }}>
      <h3 className="review-label">{title}</h3>
      {children}
    </div>
  );
}
