import {
  ColumnHeightOutlined,
  CommentOutlined,
  DeleteOutlined,
  PlusOutlined,
  RollbackOutlined,
  SwapOutlined,
} from "@ant-design/icons";
import { Button, Tabs, Tooltip } from "antd";
import { useState } from "react";
import { Link, useSearchParams } from "react-router";
import { post, remove } from "@/api/client";
import { lastPart, requestId } from "@/api/names";
import { useChange, useMay, useProject } from "@/api/queries";
import type { Deployment } from "@/api/types";
import { useI18n } from "@/i18n";
import { Empty } from "@/ui/Empty";
import { Copyable, Ref } from "@/ui/Id";
import { Page } from "@/ui/Page";
import { ResourceTable } from "@/ui/ResourceTable";
import { State } from "@/ui/State";
import { useAskToRemove, useConfirm } from "@/ui/useConfirm";
import { Nothing, Time } from "@/ui/values";
import { Adapters } from "./Adapters";
import { CreateDeploymentDrawer, ShiftDrawer } from "./Drawers";
import { Experiments } from "./Experiments";
import { FallbackChain } from "./FallbackChain";
import { ReplicaCount, Replicas } from "./Replicas";
import { canRollBack, isRunning, Rollouts } from "./Rollouts";
import { ScaleDrawer } from "./ScaleDrawer";
import { Shadows } from "./Shadows";
import { Targets, TrafficBar } from "./Targets";
import "./deployments.css";

export function Deployments() {
  const { t } = useI18n();
  const project = useProject();
  const mayWrite = useMay("ENGINEER");
  const [address, setAddress] = useSearchParams();
  const [shifting, setShifting] = useState<Deployment | null>(null);
  const [scaling, setScaling] = useState<Deployment | null>(null);
  const creating = address.get("new") !== null;
  const setCreating = (open: boolean) => setAddress(open ? { new: "" } : {}, { replace: true });
  const opened = address.get("open");
  const add = mayWrite && (
    <Button type="primary" icon={<PlusOutlined aria-hidden />} onClick={() => setCreating(true)}>
      {t("deployments.new")}
    </Button>
  );
  return (
    <Page title={t("deployments.title")} lead={t("deployments.lead")} actions={add}>
      <ResourceTable<Deployment>
        path={`/projects/${project}/deployments`}
        field="deployments"
        rowKey={(one) => one.name}
        refetchInterval={2000}
        empty={<Empty title={t("deployments.empty")} hint={t("deployments.emptyHint")} action={add} />}
        expandable={{
          expandedRowRender: (one) => (
            <Tabs
              size="small"
              items={[
                {
                  key: "split",
                  label: t("traffic.split"),
                  children: (
                    <div className="stack-s">
                      <Targets deployment={one} />
                      <Replicas deployment={one} />
                      <Rollouts deployment={one} />
                    </div>
                  ),
                },
                { key: "adapters", label: t("adapter.title"), children: <Adapters deployment={one} /> },
                { key: "shadow", label: t("shadow.title"), children: <Shadows deployment={one} /> },
                { key: "experiments", label: t("experiment.title"), children: <Experiments deployment={one} /> },
                { key: "fallbacks", label: t("fallback.title"), children: <FallbackChain deployment={one} /> },
              ]}
            />
          ),
          defaultExpandedRowKeys: opened ? [`projects/${project}/deployments/${opened}`] : [],
        }}
        columns={[
          { key: "id", title: t("column.id"), sort: "name", render: (one) => <Copyable value={lastPart(one.name)} /> },
          {
            key: "name",
            title: t("column.name"),
            sort: "display_name",
            render: (one) => one.display_name || lastPart(one.name),
          },
          {
            key: "traffic",
            title: t("deployments.traffic"),
            width: 260,
            render: (one) => (
              <>
                <TrafficBar targets={one.targets} />
                {isRunning(one) && <span className="quiet">{t("deployments.underway")}</span>}
              </>
            ),
          },
          {
            key: "replicas",
            title: t("deployments.replicas"),
            render: (one) => <ReplicaCount deployment={one} />,
          },
          {
            key: "alias",
            title: t("deployments.follows"),
            render: (one) => (one.alias ? <Ref name={one.alias} /> : <Nothing />),
          },
          {
            key: "status",
            title: t("column.status"),
            sort: "state",
            render: (one) => <State value={one.state} why={one.failure_reason} />,
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
              <Actions deployment={one} onShift={() => setShifting(one)} onScale={() => setScaling(one)} />
            ),
          },
        ]}
      />
      <CreateDeploymentDrawer open={creating} onClose={() => setCreating(false)} />
      <ShiftDrawer deployment={shifting} onClose={() => setShifting(null)} />
      <ScaleDrawer deployment={scaling} onClose={() => setScaling(null)} />
    </Page>
  );
}

interface ActionsProps {
  deployment: Deployment;
  onShift: () => void;
  onScale: () => void;
}

function Actions({ deployment, onShift, onScale }: ActionsProps) {
  const { t } = useI18n();
  const project = useProject();
  const mayWrite = useMay("ENGINEER");
  const ask = useAskToRemove();
  const id = lastPart(deployment.name);
  const confirm = useConfirm();
  const back = useChange(["inference_gateway", "gpu_scheduler"], () =>
    post<Deployment>(`/${deployment.name}:rollBack`, { request_id: requestId() }),
  );
  const askBack = () =>
    confirm({
      title: t("deployments.rollBackTitle", { what: id }),
      hint: t("deployments.rollBackHint"),
      confirm: t("deployments.rollBack"),
      done: t("deployments.rolledBack", { what: id }),
      act: () => back.mutateAsync(undefined),
    });
  const removal = useChange(["inference_gateway", "gpu_scheduler"], () => remove(`/${deployment.name}`));
  return (
    <span className="row" style={{ gap: 0 }}>
      <Tooltip title={t("nav.playground")}>
        <Link
          to={`/p/${project}/playground?deployment=${id}`}
          aria-label={`${t("nav.playground")} ${id}`}
          className="ant-btn ant-btn-text ant-btn-sm icon-link"
        >
          <CommentOutlined aria-hidden />
        </Link>
      </Tooltip>
      {mayWrite && (
        <>
          <Tooltip title={t("deployments.shift")}>
            <Button
              type="text"
              size="small"
              icon={<SwapOutlined aria-hidden />}
              aria-label={`${t("deployments.shift")} ${id}`}
              onClick={onShift}
            />
          </Tooltip>
          <Tooltip title={t("deployments.scale")}>
            <Button
              type="text"
              size="small"
              icon={<ColumnHeightOutlined aria-hidden />}
              aria-label={`${t("deployments.scale")} ${id}`}
              disabled={!deployment.targets.some((target) => target.variant)}
              onClick={onScale}
            />
          </Tooltip>
          <Tooltip title={t("deployments.rollBack")}>
            <Button
              type="text"
              size="small"
              icon={<RollbackOutlined aria-hidden />}
              aria-label={`${t("deployments.rollBack")} ${id}`}
              disabled={!canRollBack(deployment)}
              onClick={askBack}
            />
          </Tooltip>
          <Tooltip title={t("action.delete")}>
            <Button
              type="text"
              size="small"
              icon={<DeleteOutlined aria-hidden />}
              aria-label={`${t("action.delete")} ${id}`}
              onClick={() => ask.remove(id, () => removal.mutateAsync(undefined))}
            />
          </Tooltip>
        </>
      )}
    </span>
  );
}
