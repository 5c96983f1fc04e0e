import { DeleteOutlined, PlusOutlined } from "@ant-design/icons";
import { Button, Tooltip } from "antd";
import { useState } from "react";
import { Link, useNavigate } from "react-router";
import { lastPart } from "@/api/names";
import { useMay, useProject } from "@/api/queries";
import type { Prompt } from "@/api/types";
import { useI18n } from "@/i18n";
import { Actor } from "@/ui/Actor";
import { Empty } from "@/ui/Empty";
import { Page } from "@/ui/Page";
import { type Column, ResourceTable } from "@/ui/ResourceTable";
import { Nothing, Num, Time } from "@/ui/values";
import { NewVersionDrawer } from "./NewVersionDrawer";
import { useDeletePrompt } from "./useDeletePrompt";

/** Prompts that requests name instead of spelling them out. */
export function Prompts() {
  const { t } = useI18n();
  const project = useProject();
  const navigate = useNavigate();
  const canWrite = useMay("ENGINEER");
  const [creating, setCreating] = useState(false);
  const create = canWrite && (
    <Button type="primary" icon={<PlusOutlined aria-hidden />} onClick={() => setCreating(true)}>
      {t("prompts.new")}
    </Button>
  );
  return (
    <Page title={t("prompts.title")} lead={t("prompts.lead")} actions={create}>
      <ResourceTable<Prompt>
        path={`/projects/${project}/prompts`}
        field="prompts"
        columns={useColumns()}
        rowKey={(prompt) => prompt.name}
        empty={<Empty title={t("prompts.empty")} hint={t("prompts.emptyHint")} action={create} />}
      />
      <NewVersionDrawer
        open={creating}
        onClose={() => setCreating(false)}
        onMade={(version) => navigate(version.name.split("/")[3] ?? "")}
      />
    </Page>
  );
}

function useColumns(): Column<Prompt>[] {
  const { t } = useI18n();
  const canWrite = useMay("ENGINEER");
  const askToDelete = useDeletePrompt();
  const columns: Column<Prompt>[] = [
    {
      key: "id",
      title: t("column.id"),
      sort: "name",
      render: (prompt) => <span className="mono">{lastPart(prompt.name)}</span>,
    },
    {
      key: "name",
      title: t("column.name"),
      sort: "display_name",
      render: (prompt) => <Link to={lastPart(prompt.name)}>{prompt.display_name || lastPart(prompt.name)}</Link>,
    },
    {
      key: "newest",
      title: t("prompts.versions"),
      sort: "newest_version",
      align: "right",
      render: (prompt) => <Num value={prompt.newest_version} />,
    },
    { key: "labels", title: t("prompts.labels"), render: (prompt) => <LabelChips labels={prompt.labels} /> },
    {
      key: "created",
      title: t("column.created"),
      sort: "create_time",
      render: (prompt) => <Time value={prompt.create_time} />,
    },
    {
      key: "updated",
      title: t("column.updated"),
      sort: "update_time",
      render: (prompt) => <Time value={prompt.update_time} />,
    },
    { key: "by", title: t("column.by"), render: (prompt) => <Actor value={prompt.created_by} /> },
  ];
  if (canWrite)
    columns.push({
      key: "actions",
      title: t("column.actions"),
      render: (prompt) => (
        <Tooltip title={t("action.delete")}>
          <Button
            type="text"
            size="small"
            icon={<DeleteOutlined aria-hidden />}
            aria-label={`${t("action.delete")} ${prompt.display_name}`}
            onClick={() => askToDelete(prompt)}
          />
        </Tooltip>
      ),
    });
  return columns;
}

function LabelChips({ labels }: { labels: Prompt["labels"] }) {
  const { t } = useI18n();
  const all = Object.entries(labels).sort();
  if (!all.length) return <Nothing />;
  return (
    <span className="row wrap" style={{ gap: 4 }}>
      {all.map(([label, number]) => (
        <span key={label} className="chip">
          {label} → {t("prompts.version", { n: number })}
        </span>
      ))}
    </span>
  );
}
