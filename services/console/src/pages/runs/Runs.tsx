import { PlayCircleOutlined, StopOutlined } from "@ant-design/icons";
import { Button, Select, Tooltip } from "antd";
import { useState } from "react";
import { Link, useSearchParams } from "react-router";
import { post } from "@/api/client";
import { bare, lastPart } from "@/api/names";
import { useChange, useMay, useProject } from "@/api/queries";
import type { Run } from "@/api/types";
import { useI18n } from "@/i18n";
import { formatNumber } from "@/i18n/format";
import { Empty } from "@/ui/Empty";
import { Ref } from "@/ui/Id";
import { Page } from "@/ui/Page";
import { ProgressBar } from "@/ui/ProgressBar";
import { type Column, ResourceTable } from "@/ui/ResourceTable";
import { isOpen, State } from "@/ui/State";
import { useAskToRemove } from "@/ui/useConfirm";
import { useTitles } from "@/ui/useTitles";
import { Cost, Time } from "@/ui/values";
import { StartRunDrawer } from "./StartRunDrawer";

const STATES = ["QUEUED", "RUNNING", "PAUSED", "SUCCEEDED", "FAILED", "CANCELLED"];
/** Milliseconds; progress comes without an event. */
const POLL = 5000;

export function Runs() {
  const { t, word } = useI18n();
  const project = useProject();
  const canStart = useMay("ENGINEER");
  const [address, setAddress] = useSearchParams();
  const [state, setState] = useState("");
  const columns = useColumns();
  const open = address.get("new") !== null;
  const setOpen = (next: boolean) => setAddress(next ? { new: "" } : {}, { replace: true });
  const start = canStart && (
    <Button type="primary" icon={<PlayCircleOutlined aria-hidden />} onClick={() => setOpen(true)}>
      {t("runs.start")}
    </Button>
  );
  return (
    <Page title={t("runs.title")} lead={t("runs.lead")} actions={start}>
      <ResourceTable<Run>
        path={`/projects/${project}/runs`}
        field="runs"
        params={{ filter: state && `state=${state}` }}
        columns={columns}
        rowKey={(run) => run.name}
        refetchInterval={POLL}
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
        empty={<Empty title={t("runs.empty")} hint={t("runs.emptyHint")} action={start} />}
      />
      <StartRunDrawer open={open} onClose={() => setOpen(false)} />
    </Page>
  );
}

function useColumns(): Column<Run>[] {
  const { t, word, language } = useI18n();
  const titles = useTitles();
  const project = useProject();
  const canStop = useMay("ENGINEER");
  const ask = useAskToRemove();
  const stop = useChange(["training_scheduler", "gpu_scheduler"], (run: Run) =>
    post(`/projects/${project}/runs/${lastPart(run.name)}:cancel`),
  );
  return [
    {
      key: "number",
      title: t("column.number"),
      sort: "number",
      align: "right",
      render: (run) => <span className="num">{run.number}</span>,
    },
    {
      key: "name",
      title: t("column.name"),
      sort: "display_name",
      render: (run) => <Link to={`/p/${project}/runs/${lastPart(run.name)}`}>{titles.run(run)}</Link>,
    },
    { key: "method", title: t("runs.method"), render: (run) => run.spec && word("method", bare(run.spec.method)) },
    { key: "base", title: t("runs.base"), render: (run) => <Ref name={run.spec?.base} /> },
    {
      key: "status",
      title: t("column.status"),
      sort: "state",
      render: (run) => <State value={run.state} why={run.failure_reason || run.waiting_reason} />,
    },
    {
      key: "progress",
      title: t("runs.progress"),
      width: 150,
      render: (run) => <ProgressBar done={run.step} total={run.total_steps} live={isOpen(run.state)} />,
    },
    {
      key: "loss",
      title: t("runs.loss"),
      align: "right",
      render: (run) => <span className="num">{run.loss == null ? "–" : formatNumber(language, run.loss, 3)}</span>,
    },
    { key: "cost", title: t("column.cost"), align: "right", render: (run) => <Cost microusd={run.cost_microusd} /> },
    {
      key: "created",
      title: t("column.created"),
      sort: "create_time",
      render: (run) => <Time value={run.create_time} />,
    },
    {
      key: "updated",
      title: t("column.updated"),
      sort: "update_time",
      render: (run) => <Time value={run.update_time} />,
    },
    {
      key: "actions",
      title: t("column.actions"),
      render: (run) =>
        canStop &&
        isOpen(run.state) && (
          <Tooltip title={t("action.stop")}>
            <Button
              type="text"
              size="small"
              icon={<StopOutlined aria-hidden />}
              aria-label={`${t("action.stop")} ${run.number}`}
              onClick={() => ask.stop(titles.run(run), () => stop.mutateAsync(run))}
            />
          </Tooltip>
        ),
    },
  ];
}
