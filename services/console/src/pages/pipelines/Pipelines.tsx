import { PlayCircleOutlined, StopOutlined } from "@ant-design/icons";
import { Button, Tooltip } from "antd";
import { Link, useSearchParams } from "react-router";
import { post } from "@/api/client";
import { lastPart } from "@/api/names";
import { useChange, useMay, useProject } from "@/api/queries";
import type { Pipeline } from "@/api/types";
import { useI18n } from "@/i18n";
import { Empty } from "@/ui/Empty";
import { Ref } from "@/ui/Id";
import { Page } from "@/ui/Page";
import { type Column, ResourceTable } from "@/ui/ResourceTable";
import { isOpen, State } from "@/ui/State";
import { useAskToRemove } from "@/ui/useConfirm";
import { useTitles } from "@/ui/useTitles";
import { Cost, Time } from "@/ui/values";
import { StageDots } from "./Stages";
import { StartLapDrawer } from "./StartLapDrawer";

export function Pipelines() {
  const { t } = useI18n();
  const project = useProject();
  const mayStart = useMay("ENGINEER");
  const [address, setAddress] = useSearchParams();
  /** Id of the batch that a lap begins with; "" for none. */
  const batch = address.get("new");
  const columns = useColumns();
  const start = mayStart && (
    <Button
      type="primary"
      icon={<PlayCircleOutlined aria-hidden />}
      onClick={() => setAddress({ new: "" }, { replace: true })}
    >
      {t("pipelines.start")}
    </Button>
  );
  return (
    <Page title={t("pipelines.title")} lead={t("pipelines.lead")} actions={start}>
      <ResourceTable<Pipeline>
        path={`/projects/${project}/pipelines`}
        field="pipelines"
        columns={columns}
        rowKey={(lap) => lap.name}
        refetchInterval={5000}
        empty={<Empty title={t("pipelines.empty")} hint={t("pipelines.emptyHint")} action={start} />}
      />
      <StartLapDrawer open={batch !== null} batch={batch ?? ""} onClose={() => setAddress({}, { replace: true })} />
    </Page>
  );
}

function useColumns(): Column<Pipeline>[] {
  const { t } = useI18n();
  const project = useProject();
  const mayStop = useMay("ENGINEER");
  const ask = useAskToRemove();
  const stop = useChange(["training_scheduler", "gpu_scheduler"], (lap: Pipeline) => post(`/${lap.name}:cancel`));
  const { lap: title } = useTitles();
  return [
    {
      key: "number",
      title: t("column.number"),
      sort: "number",
      align: "right",
      render: (lap) => <span className="num">{lap.number}</span>,
    },
    {
      key: "name",
      title: t("column.name"),
      sort: "display_name",
      render: (lap) => <Link to={`/p/${project}/pipelines/${lastPart(lap.name)}`}>{title(lap)}</Link>,
    },
    { key: "stages", title: t("pipelines.stages"), render: (lap) => <StageDots stages={lap.stages} /> },
    { key: "base", title: t("runs.base"), render: (lap) => <Ref name={lap.spec?.base} /> },
    { key: "result", title: t("run.result"), render: (lap) => <Ref name={lap.model_version} /> },
    {
      key: "status",
      title: t("column.status"),
      sort: "state",
      render: (lap) => <State value={lap.state} why={lap.failure_reason} />,
    },
    { key: "cost", title: t("column.cost"), align: "right", render: (lap) => <Cost microusd={lap.cost_microusd} /> },
    {
      key: "created",
      title: t("column.created"),
      sort: "create_time",
      render: (lap) => <Time value={lap.create_time} />,
    },
    {
      key: "updated",
      title: t("column.updated"),
      sort: "update_time",
      render: (lap) => <Time value={lap.update_time} />,
    },
    {
      key: "actions",
      title: t("column.actions"),
      render: (lap) =>
        mayStop &&
        isOpen(lap.state) && (
          <Tooltip title={t("action.stop")}>
            <Button
              type="text"
              size="small"
              icon={<StopOutlined aria-hidden />}
              aria-label={`${t("action.stop")} ${lap.number}`}
              onClick={() => ask.stop(title(lap), () => stop.mutateAsync(lap))}
            />
          </Tooltip>
        ),
    },
  ];
}
