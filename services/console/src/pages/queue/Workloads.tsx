import { StopOutlined } from "@ant-design/icons";
import { Button, Select, Tooltip } from "antd";
import { useState } from "react";
import { Link } from "react-router";
import { post } from "@/api/client";
import { bare, lastPart, pagePath } from "@/api/names";
import { useChange, useMay, useProject } from "@/api/queries";
import type { Workload } from "@/api/types";
import { useI18n } from "@/i18n";
import { Empty } from "@/ui/Empty";
import { Ref } from "@/ui/Id";
import { type Column, ResourceTable } from "@/ui/ResourceTable";
import { isOpen, State } from "@/ui/State";
import { useAskToRemove } from "@/ui/useConfirm";
import { useTitles } from "@/ui/useTitles";
import { Bytes, Cost, Nothing, Time } from "@/ui/values";

const STATES = ["QUEUED", "RUNNING", "FINISHED", "FAILED", "CANCELLED"];

export function Workloads() {
  const { t, word } = useI18n();
  const project = useProject();
  const [state, setState] = useState("");
  return (
    <ResourceTable<Workload>
      path={`/projects/${project}/workloads`}
      field="workloads"
      params={{ filter: state && `state=${state}` }}
      rowKey={(workload) => workload.name}
      refetchInterval={4000}
      columns={useColumns()}
      tools={
        <>
          <strong style={{ order: -1, marginRight: 8 }}>{t("workloads.title")}</strong>
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
        </>
      }
      empty={<Empty title={t("workloads.empty")} hint={t("workloads.emptyHint")} />}
    />
  );
}

function useColumns(): Column<Workload>[] {
  const { t, word } = useI18n();
  const titles = useTitles();
  const mayStop = useMay("ENGINEER");
  const ask = useAskToRemove();
  const stop = useChange(["gpu_scheduler", "training_scheduler"], (workload: Workload) =>
    post(`/${workload.name}:cancel`),
  );
  return [
    {
      key: "number",
      title: t("column.number"),
      sort: "number",
      align: "right",
      render: (one) => <span className="num">{one.number}</span>,
    },
    {
      key: "name",
      title: t("column.name"),
      sort: "display_name",
      render: (one) => (
        <Link to={pagePath(one.name) ?? ""} title={one.display_name}>
          {titles.workload(one)}
        </Link>
      ),
    },
    { key: "kind", title: t("column.type"), render: (one) => word("kind", bare(one.spec?.kind ?? "")) },
    {
      key: "owner",
      title: t("workloads.owner"),
      render: (one) => (one.spec?.owner ? <Ref name={one.spec.owner} /> : <Nothing />),
    },
    {
      key: "status",
      title: t("column.status"),
      sort: "state",
      render: (one) => <State value={one.state} why={one.failure_reason} />,
    },
    {
      key: "waits",
      title: t("workloads.waitsFor"),
      render: (one) =>
        one.waiting_reason ? <span className="chip wait">{word("reason", one.waiting_reason)}</span> : <Nothing />,
    },
    {
      key: "attempt",
      title: t("run.attempt"),
      align: "right",
      render: (one) => <span className="num">{one.attempt || "–"}</span>,
    },
    { key: "node", title: t("workloads.node"), render: (one) => (one.node ? lastPart(one.node) : <Nothing />) },
    {
      key: "size",
      title: t("workloads.peak"),
      align: "right",
      render: (one) => <Bytes value={one.usage?.peak_memory_bytes} />,
    },
    {
      key: "cost",
      title: t("column.cost"),
      align: "right",
      render: (one) => <Cost microusd={one.usage?.cost_microusd} />,
    },
    {
      key: "created",
      title: t("column.created"),
      sort: "create_time",
      render: (one) => <Time value={one.create_time} />,
    },
    {
      key: "updated",
      title: t("column.updated"),
      sort: "update_time",
      render: (one) => <Time value={one.update_time} />,
    },
    {
      key: "actions",
      title: t("column.actions"),
      render: (one) => (
        <span className="row" style={{ gap: 0 }}>
          {mayStop && isOpen(one.state) && (
            <Tooltip title={t("action.stop")}>
              <Button
                type="text"
                size="small"
                icon={<StopOutlined aria-hidden />}
                aria-label={`${t("action.stop")} ${one.number}`}
                onClick={() => ask.stop(titles.workload(one), () => stop.mutateAsync(one))}
              />
            </Tooltip>
          )}
        </span>
      ),
    },
  ];
}
