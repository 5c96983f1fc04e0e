import { PlusOutlined, StopOutlined } from "@ant-design/icons";
import { Button, Select, Tooltip } from "antd";
import { useState } from "react";
import { useSearchParams } from "react-router";
import { post } from "@/api/client";
import { bare, lastPart } from "@/api/names";
import { useChange, useMay, useProject } from "@/api/queries";
import type { InferenceBatch } from "@/api/types";
import { useI18n } from "@/i18n";
import { Actor } from "@/ui/Actor";
import { Empty } from "@/ui/Empty";
import { Copyable, Ref } from "@/ui/Id";
import { Page } from "@/ui/Page";
import { ProgressBar } from "@/ui/ProgressBar";
import { type Column, ResourceTable } from "@/ui/ResourceTable";
import { isOpen, State } from "@/ui/State";
import { useAskToRemove } from "@/ui/useConfirm";
import { Nothing, Num, Time } from "@/ui/values";
import { BatchLines } from "./BatchLines";
import { NewBatchDrawer } from "./NewBatchDrawer";

const STATES = ["IN_PROGRESS", "COMPLETED", "FAILED", "CANCELLED", "EXPIRED"];
/** Milliseconds; progress comes without an event. */
const POLL = 3000;

export function Batches() {
  const { t, word } = useI18n();
  const project = useProject();
  const mayStart = useMay("ENGINEER");
  const [address, setAddress] = useSearchParams();
  const [state, setState] = useState("");
  const columns = useColumns();
  const setOpen = (open: boolean) => setAddress(open ? { new: "" } : {}, { replace: true });
  const start = mayStart && (
    <Button type="primary" icon={<PlusOutlined aria-hidden />} onClick={() => setOpen(true)}>
      {t("inference.new")}
    </Button>
  );
  return (
    <Page title={t("inference.title")} lead={t("inference.lead")} actions={start}>
      <ResourceTable<InferenceBatch>
        path={`/projects/${project}/inference-batches`}
        field="inference_batches"
        params={{ filter: state && `state=${state}` }}
        columns={columns}
        rowKey={(batch) => batch.name}
        refetchInterval={POLL}
        expandable={{ expandedRowRender: (batch) => <BatchLines batch={batch} /> }}
        tools={
          <Select
            aria-label={t("column.status")}
            value={state}
            onChange={setState}
            style={{ minWidth: 130 }}
            options={[
              { value: "", label: t("action.all") },
              ...STATES.map((one) => ({ value: one, label: word("state", one) })),
            ]}
          />
        }
        empty={<Empty title={t("inference.empty")} hint={t("inference.emptyHint")} action={start} />}
      />
      <NewBatchDrawer open={address.get("new") !== null} onClose={() => setOpen(false)} />
    </Page>
  );
}

function useColumns(): Column<InferenceBatch>[] {
  const { t } = useI18n();
  const project = useProject();
  const mayStop = useMay("ENGINEER");
  const ask = useAskToRemove();
  const stop = useChange(["inference_gateway"], (batch: InferenceBatch) =>
    post(`/projects/${project}/inference-batches/${lastPart(batch.name)}:cancel`),
  );
  return [
    {
      key: "number",
      title: t("column.number"),
      sort: "number",
      align: "right",
      render: (batch) => <span className="num">{batch.number}</span>,
    },
    {
      key: "source",
      title: t("inference.source"),
      render: (batch) =>
        batch.source_version ? (
          <Ref name={batch.source_version} />
        ) : (
          <Copyable value={batch.input_file} shown={t("inference.file")} />
        ),
    },
    {
      key: "model",
      title: t("playground.deployment"),
      sort: "model",
      render: (batch) => (batch.model ? <span className="mono">{batch.model}</span> : <Nothing />),
    },
    {
      key: "status",
      title: t("column.status"),
      sort: "state",
      render: (batch) => <State value={batch.state} why={batch.failure_reason} />,
    },
    {
      key: "progress",
      title: t("inference.answered"),
      width: 190,
      render: (batch) => (
        <ProgressBar
          done={batch.completed_count + batch.failed_count}
          total={batch.total_count}
          live={bare(batch.state) === "IN_PROGRESS"}
        />
      ),
    },
    {
      key: "failed",
      title: t("inference.failed"),
      sort: "failed_count",
      align: "right",
      render: (batch) => <Num value={batch.failed_count} />,
    },
    { key: "result", title: t("inference.result"), render: (batch) => <Ref name={batch.result_version} /> },
    {
      key: "created",
      title: t("column.created"),
      sort: "create_time",
      render: (batch) => <Time value={batch.create_time} />,
    },
    { key: "by", title: t("column.by"), render: (batch) => <Actor value={batch.created_by} /> },
    {
      key: "actions",
      title: t("column.actions"),
      render: (batch) => {
        const what = t("inference.numbered", { n: batch.number });
        const mayBeStopped = isOpen(batch.state) && !["CANCELLING", "FINALIZING"].includes(bare(batch.state));
        if (!mayStop || !mayBeStopped) return null;
        return (
          <Tooltip title={t("action.stop")}>
            <Button
              type="text"
              size="small"
              icon={<StopOutlined aria-hidden />}
              aria-label={`${t("action.stop")}: ${what}`}
              onClick={() => ask.stop(what, () => stop.mutateAsync(batch))}
            />
          </Tooltip>
        );
      },
    },
  ];
}
