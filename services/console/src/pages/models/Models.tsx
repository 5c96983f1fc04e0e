import { DeleteOutlined, ImportOutlined, PlusOutlined } from "@ant-design/icons";
import { Button, Tooltip } from "antd";
import { useState } from "react";
import { Link } from "react-router";
import { remove } from "@/api/client";
import { lastPart, partOf } from "@/api/names";
import { useChange, useMay, useProject } from "@/api/queries";
import type { Model } from "@/api/types";
import { useI18n } from "@/i18n";
import { Empty } from "@/ui/Empty";
import { Page } from "@/ui/Page";
import { type Column, ResourceTable } from "@/ui/ResourceTable";
import { State } from "@/ui/State";
import { useAskToRemove } from "@/ui/useConfirm";
import { Bytes, Nothing, Time } from "@/ui/values";
import { ImportDrawer } from "./ImportDrawer";

export function Models() {
  const { t } = useI18n();
  const project = useProject();
  const canWrite = useMay("ENGINEER");
  const [target, setTarget] = useState<Model | "new" | null>(null);
  const columns = useColumns(setTarget);
  const add = canWrite && (
    <Button type="primary" icon={<ImportOutlined aria-hidden />} onClick={() => setTarget("new")}>
      {t("models.import")}
    </Button>
  );
  return (
    <Page title={t("models.title")} lead={t("models.lead")} actions={add}>
      <ResourceTable<Model>
        path={`/projects/${project}/models`}
        field="models"
        columns={columns}
        rowKey={(model) => model.name}
        empty={<Empty title={t("models.empty")} hint={t("models.emptyHint")} action={add} />}
      />
      <ImportDrawer target={target} onClose={() => setTarget(null)} />
    </Page>
  );
}

function useColumns(addVersion: (model: Model) => void): Column<Model>[] {
  const { t } = useI18n();
  const project = useProject();
  const canWrite = useMay("ENGINEER");
  const ask = useAskToRemove();
  const removal = useChange(["model_registry"], (model: Model) =>
    remove(`/projects/${project}/models/${lastPart(model.name)}`),
  );
  return [
    {
      key: "id",
      title: t("column.id"),
      sort: "name",
      render: (row) => <span className="mono">{lastPart(row.name)}</span>,
    },
    {
      key: "name",
      title: t("column.name"),
      sort: "display_name",
      render: (row) => (
        <Link to={`/p/${project}/models/${lastPart(row.name)}`}>{row.display_name || lastPart(row.name)}</Link>
      ),
    },
    { key: "type", title: t("column.type"), render: (row) => <Architecture model={row} /> },
    { key: "aliases", title: t("models.aliases"), render: (row) => <Aliases model={row} /> },
    { key: "size", title: t("column.size"), align: "right", render: (row) => <Bytes value={row.size_bytes} /> },
    {
      key: "status",
      title: t("column.status"),
      render: (row) => (row.latest_version_state ? <State value={row.latest_version_state} /> : <Nothing />),
    },
    { key: "licence", title: t("column.licence"), render: (row) => row.licence || <Nothing /> },
    {
      key: "created",
      title: t("column.created"),
      sort: "create_time",
      render: (row) => <Time value={row.create_time} />,
    },
    {
      key: "updated",
      title: t("column.updated"),
      sort: "update_time",
      render: (row) => <Time value={row.update_time} />,
    },
    {
      key: "actions",
      title: t("column.actions"),
      render: (row) =>
        canWrite && (
          <span className="row" style={{ gap: 0 }}>
            <Tooltip title={t("models.newVersion")}>
              <Button
                type="text"
                size="small"
                icon={<PlusOutlined aria-hidden />}
                aria-label={t("upload.newVersion", { what: row.display_name })}
                onClick={() => addVersion(row)}
              />
            </Tooltip>
            <Tooltip title={t("action.delete")}>
              <Button
                type="text"
                size="small"
                icon={<DeleteOutlined aria-hidden />}
                aria-label={`${t("action.delete")} ${row.display_name}`}
                onClick={() => ask.remove(row.display_name || lastPart(row.name), () => removal.mutateAsync(row))}
              />
            </Tooltip>
          </span>
        ),
    },
  ];
}

function Architecture({ model }: { model: Model }) {
  if (!model.architecture) return <Nothing />;
  return (
    <span className="nowrap">
      {model.architecture.replace(/ForCausalLM$/, "")}{" "}
      <span className="quiet num">{parameters(Number(model.parameter_count))}</span>
    </span>
  );
}

/** "135M", "7.2B", as models are named by. */
export function parameters(count: number): string {
  if (!count) return "";
  if (count >= 1e9) return `${Number((count / 1e9).toPrecision(2))}B`;
  return count >= 1e6 ? `${Math.round(count / 1e6)}M` : `${Math.round(count / 1e3)}K`;
}

function Aliases({ model }: { model: Model }) {
  if (!model.aliases.length) return <Nothing />;
  return (
    <span className="row wrap" style={{ gap: 4 }}>
      {model.aliases.map(({ alias, version }) => (
        <span key={alias} className="chip accent">
          {alias} → v{partOf(version, "versions")}
        </span>
      ))}
    </span>
  );
}
