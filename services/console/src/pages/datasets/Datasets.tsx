import { UploadOutlined } from "@ant-design/icons";
import { Button, Select } from "antd";
import { useState } from "react";
import { bare } from "@/api/names";
import { useMay, useProject } from "@/api/queries";
import type { Dataset } from "@/api/types";
import { useI18n } from "@/i18n";
import { Empty } from "@/ui/Empty";
import { Page } from "@/ui/Page";
import { ResourceTable } from "@/ui/ResourceTable";
import { useVersionedColumns } from "@/ui/useVersionedColumns";
import { Num } from "@/ui/values";
import { UploadDrawer } from "./UploadDrawer";

export function Datasets() {
  const { t, word } = useI18n();
  const project = useProject();
  const canWrite = useMay("ENGINEER");
  const [type, setType] = useState("");
  /** The data set that gets a version; "new" for one of its own. */
  const [target, setTarget] = useState<Dataset | "new" | null>(null);
  const columns = useVersionedColumns<Dataset>({
    collection: "datasets",
    component: "dataset",
    own: [
      { key: "type", title: t("column.type"), sort: "type", render: (row) => word("type", bare(row.type)) },
      {
        key: "rows",
        title: t("column.rows"),
        sort: "row_count",
        align: "right",
        render: (row) => <Num value={row.row_count} />,
      },
    ],
    sizeSort: "size_bytes",
    newVersion: t("dataset.newVersion"),
    addVersion: setTarget,
  });
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
