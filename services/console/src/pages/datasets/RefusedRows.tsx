import type { DatasetVersion, Reject } from "@/api/types";
import { useI18n } from "@/i18n";
import { Empty } from "@/ui/Empty";
import { ResourceTable } from "@/ui/ResourceTable";
import { Num } from "@/ui/values";

/** Why each row was not taken, and what to do about it. */
export function RefusedRows({ version }: { version: DatasetVersion }) {
  const { t, word } = useI18n();
  return (
    <ResourceTable<Reject>
      path={`/${version.name}/rejects`}
      field="rejects"
      searchable={false}
      rowKey={(row) => `${row.line} ${row.field} ${row.reason}`}
      empty={<Empty title={t("dataset.noRefused")} />}
      columns={[
        { key: "line", title: t("dataset.line"), align: "right", render: (row) => <Num value={row.line} /> },
        { key: "field", title: t("dataset.field"), render: (row) => <span className="mono">{row.field || "–"}</span> },
        { key: "reason", title: t("dataset.reason"), render: (row) => word("reason", row.reason) },
        {
          key: "remedy",
          title: t("dataset.remedy"),
          render: (row) => <div className="row-cell">{word("remedy", row.reason, row.remedy)}</div>,
        },
        {
          key: "excerpt",
          title: t("dataset.excerpt"),
          render: (row) => <div className="mono row-cell two-lines">{row.excerpt}</div>,
        },
      ]}
    />
  );
}
