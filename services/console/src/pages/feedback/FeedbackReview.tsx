import { InboxOutlined } from "@ant-design/icons";
import { Button, Segmented, Tooltip } from "antd";
import { useState } from "react";
import { useSearchParams } from "react-router";
import { lastPart } from "@/api/names";
import { useList, useMay, useProject } from "@/api/queries";
import type { Feedback } from "@/api/types";
import { useI18n } from "@/i18n";
import { Empty } from "@/ui/Empty";
import { Page } from "@/ui/Page";
import { Pager, usePages } from "@/ui/Pager";
import { SkeletonRows } from "@/ui/ResourceTable";
import { Search, withParam } from "@/ui/Search";
import { Trouble } from "@/ui/Trouble";
import { BatchDrawer } from "./BatchDrawer";
import { Batches } from "./Batches";
import { FeedbackTable } from "./FeedbackTable";
import { Reviewer } from "./Reviewer";
import { useDecisions } from "./useDecisions";
import { useReviewKeys } from "./useReviewKeys";
import "./feedback.css";

const PAGE_SIZE = 50;
type View = "SUBMITTED" | "APPROVED" | "REJECTED" | "" | "batches";

/** Everything that people said, on the left; one piece of it and its decision, on the right. */
export function FeedbackReview() {
  const { t, word } = useI18n();
  const [address, setAddress] = useSearchParams();
  const view = (address.get("view") ?? "SUBMITTED") as View;
  const [batching, setBatching] = useState(false);
  const views = [
    { value: "SUBMITTED", label: word("state", "SUBMITTED") },
    { value: "APPROVED", label: word("state", "APPROVED") },
    { value: "REJECTED", label: word("state", "REJECTED") },
    { value: "", label: t("action.all") },
    { value: "batches", label: t("batches.title") },
  ];
  return (
    <Page
      full
      title={t("feedback.title")}
      lead={t("feedback.lead")}
      actions={<BatchButton onClick={() => setBatching(true)} />}
    >
      <div className="row wrap">
        <Segmented<string>
          aria-label={t("column.status")}
          value={view}
          options={views}
          onChange={(next) => setAddress({ view: next }, { replace: true })}
        />
        <span className="grow" />
        {view !== "batches" && <Keys />}
      </div>
      {view === "batches" ? <Batches /> : <Split state={view} />}
      <BatchDrawer open={batching} onClose={() => setBatching(false)} />
    </Page>
  );
}

function BatchButton({ onClick }: { onClick: () => void }) {
  const { t } = useI18n();
  const project = useProject();
  const mayBatch = useMay("REVIEWER");
  const free = useList<"feedback", Feedback>(`/projects/${project}/feedback`, {
    filter: "state=APPROVED AND batch=",
    page_size: 1,
  });
  const count = Number(free.data?.total_size ?? 0);
  if (!mayBatch) return null;
  return (
    <Tooltip title={t("batches.free", { n: count })}>
      <Button icon={<InboxOutlined aria-hidden />} disabled={!count} onClick={onClick}>
        {t("batches.make")} {count > 0 && <span className="chip accent num">{count}</span>}
      </Button>
    </Tooltip>
  );
}

function Split({ state }: { state: string }) {
  const { t } = useI18n();
  const project = useProject();
  const [address, setAddress] = useSearchParams();
  const query = address.get("q") ?? "";
  const order = address.get("order") ?? "";
  const asked = { filter: state && `state=${state}`, query, order_by: order };
  const pages = usePages(JSON.stringify(asked));
  const list = useList<"feedback", Feedback>(`/projects/${project}/feedback`, {
    ...asked,
    page_size: PAGE_SIZE,
    page_token: pages.token,
  });
  const rows = list.data?.feedback ?? [];
  const change = (name: string, value: string) =>
    setAddress((before) => withParam(before, name, value), { replace: true });

  const opened = address.get("open");
  const index = rows.findIndex((row) => lastPart(row.name) === opened);
  const shownName = opened ?? (rows[0] ? lastPart(rows[0].name) : "");
  const go = (step: 1 | -1) => {
    const next = rows[Math.max(0, index < 0 ? (opened ? 0 : step) : index + step)];
    if (next) change("open", lastPart(next.name));
  };
  const decisions = useDecisions(() => go(1));

  useReviewKeys({ j: () => go(1), k: () => go(-1), u: decisions.undo });
  return (
    <div className="review">
      <section className="panel review-list">
        <div className="table-tools">
          <Search value={query} onChange={(value) => change("q", value)} />
        </div>
        <div className="review-scroll">
          {list.isPending ? (
            <SkeletonRows columns={5} rows={10} />
          ) : list.isError ? (
            <div className="panel-body">
              <Trouble error={list.error} retry={() => list.refetch()} />
            </div>
          ) : rows.length ? (
            <FeedbackTable
              rows={rows}
              shown={shownName}
              order={order}
              onOpen={(row) => change("open", lastPart(row.name))}
              onOrder={(next) => change("order", next)}
            />
          ) : query ? (
            <Empty title={t("table.noMatch", { query })} />
          ) : (
            <Empty
              title={state === "SUBMITTED" ? t("feedback.done") : t("feedback.empty")}
              hint={t("feedback.emptyHint")}
            />
          )}
        </div>
        {list.data && (
          <Pager
            pages={pages}
            shown={rows.length}
            pageSize={PAGE_SIZE}
            next={list.data.next_page_token}
            total={Number(list.data.total_size)}
          />
        )}
      </section>
      <section className="panel review-one" aria-label={t("feedback.one")}>
        {shownName ? (
          <Reviewer key={shownName} id={shownName} decisions={decisions} />
        ) : (
          <Empty title={t("feedback.nothingOpen")} />
        )}
      </section>
    </div>
  );
}

function Keys() {
  const { t } = useI18n();
  return (
    <span className="row quiet review-keys">
      <kbd>J</kbd>
      <kbd>K</kbd> {t("feedback.key.move")}
      <kbd>A</kbd> {t("feedback.key.approve")}
      <kbd>R</kbd> {t("feedback.key.reject")}
      <kbd>E</kbd> {t("feedback.key.edit")}
      <kbd>U</kbd> {t("action.undo")}
    </span>
  );
}
