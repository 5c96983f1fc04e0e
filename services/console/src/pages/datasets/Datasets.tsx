import { DeleteOutlined, PlusOutlined, UploadOutlined } from "@ant-design/icons";
import { Button, Select, Tooltip } from "antd";
import { useState } from "react";
import { Link } from "react-router";
import { remove } from "@/api/client";
import { bare, lastPart } from "@/api/names";
import { useChange, useMay, useProject } from "@/api/queries";
import type { Dataset } from "@/api/types";
import { useI18n } from "@/i18n";
import { Empty } from "@/ui/Empty";
import { Page } from "@/ui/Page";
import { type Column, ResourceTable } from "@/ui/ResourceTable";
import { State } from "@/ui/State";
import { useAskToRemove } from "@/ui/useConfirm";
import { Bytes, Nothing, Num, Time } from "@/ui/values";
import { UploadDrawer } from "./UploadDrawer";

export function Datasets() {
  const { t } = useI18n();
  const project = useProject();
  const canWrite = useMay("ENGINEER");
  const [type, setType] = useState("");
  /** The data set that gets a version; "new" for one of its own. */
  const [target, setTarget] = useState<Dataset | "new" | null>(null);
  const columns = useColumns(setTarget);
  const upload = canWrite && (
    <Button type="primary" icon={<UploadOutlined aria-hidden />} onClick={() => setTarget("new")}>
      {t("datasets.upload")}
    </Button>
  );
  return (
    <Page title={t("datasets.title")} lead={t("datasets.lead")} actions={upload}>
      <ResourceTable<Dataset>
        path={`/projects/${project}/datasets`}
        field="datasets"
        params={{ filter: type && `type=${type}` }}
        columns={columns}
        rowKey={(dataset) => dataset.name}
        tools={<TypeFilter value={type} onChange={setType} />}
        empty={<Empty title={t("datasets.empty")} hint={t("datasets.emptyHint")} action={upload} />}
      />
      <UploadDrawer target={target} onClose={() => setTarget(null)} />
    </Page>
  );
}

function TypeFilter({ value, onChange }: { value: string; onChange: (type: string) => void }) {
  const { t, word } = useI18n();
  const types = ["SFT", "PREFERENCE", "EVALUATION", "PROMPT"].map((type) => ({
    value: type,
    label: word("type", type),
  }));
  return (
    <Select
      aria-label={t("column.type")}
      value={value}
      onChange={onChange}
      style={{ minWidth: 130 }}
      options={[{ value: "", label: t("action.all") }, ...types]}
    />
  );
}

function useColumns(addVersion: (dataset: Dataset) => void): Column<Dataset>[] {
  const { t, word } = useI18n();
  const project = useProject();
  const canWrite = useMay("ENGINEER");
  const ask = useAskToRemove();
  const removal = useChange(["dataset"], (dataset: Dataset) =>
    remove(`/projects/${project}/datasets/${lastPart(dataset.name)}`),
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
        <Link to={`/p/${project}/datasets/${lastPart(row.name)}`}>{row.display_name || lastPart(row.name)}</Link>
      ),
    },
    { key: "type", title: t("column.type"), sort: "type", render: (row) => word("type", bare(row.type)) },
    {
      key: "rows",
      title: t("column.rows"),
      sort: "row_count",
      align: "right",
      render: (row) => <Num value={row.row_count} />,
    },
    {
      key: "size",
      title: t("column.size"),
      sort: "size_bytes",
      align: "right",
      render: (row) => <Bytes value={row.size_bytes} />,
    },
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
            <Tooltip title={t("dataset.newVersion")}>
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
