import { DeleteOutlined, PlusOutlined } from "@ant-design/icons";
import { Button, Tooltip } from "antd";
import { Link } from "react-router";
import { remove } from "@/api/client";
import { lastPart } from "@/api/names";
import { useChange, useMay, useProject } from "@/api/queries";
import type { Dataset, Model } from "@/api/types";
import { useI18n } from "@/i18n";
import type { Column } from "./ResourceTable";
import { State } from "./State";
import { useAskToRemove } from "./useConfirm";
import { Bytes, Nothing, Time } from "./values";

interface Kind<Row> {
  /** As in paths: `datasets`. */
  collection: string;
  /** The service that owns them: what it has is read anew after a removal. */
  component: string;
  /** Columns that only this kind has; they stand between name and size. */
  own: Column<Row>[];
  sizeSort?: string;
  newVersion: string;
  addVersion: (row: Row) => void;
}

/** The columns of whatever has versions: data sets and models look alike. */
export function useVersionedColumns<Row extends Dataset | Model>(kind: Kind<Row>): Column<Row>[] {
  const { t } = useI18n();
  const project = useProject();
  const canWrite = useMay("ENGINEER");
  const ask = useAskToRemove();
  const path = (row: Row) => `${kind.collection}/${lastPart(row.name)}`;
  const removal = useChange([kind.component], (row: Row) => remove(`/projects/${project}/${path(row)}`));
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
      render: (row) => <Link to={`/p/${project}/${path(row)}`}>{row.display_name || lastPart(row.name)}</Link>,
    },
    ...kind.own,
    {
      key: "size",
      title: t("column.size"),
      sort: kind.sizeSort,
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
            <Tooltip title={kind.newVersion}>
              <Button
                type="text"
                size="small"
                icon={<PlusOutlined aria-hidden />}
                aria-label={t("upload.newVersion", { what: row.display_name })}
                onClick={() => kind.addVersion(row)}
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
