import { Link } from "react-router";
import { lastPart } from "@/api/names";
import { useMay, useProject } from "@/api/queries";
import type { Batch } from "@/api/types";
import { useI18n } from "@/i18n";
import { Actor } from "@/ui/Actor";
import { Empty } from "@/ui/Empty";
import { Ref } from "@/ui/Id";
import { ResourceTable } from "@/ui/ResourceTable";
import { State } from "@/ui/State";
import { Nothing, Num, Time } from "@/ui/values";

export function Batches() {
  const { t } = useI18n();
  const project = useProject();
  const mayStart = useMay("ENGINEER");
  return (
    <ResourceTable<Batch>
      path={`/projects/${project}/feedback-batches`}
      field="batches"
      rowKey={(batch) => batch.name}
      refetchInterval={4000}
      empty={<Empty title={t("batches.empty")} hint={t("batches.emptyHint")} />}
      columns={[
        {
          key: "number",
          title: t("column.number"),
          sort: "number",
          align: "right",
          render: (batch) => <span className="num">{batch.number}</span>,
        },
        {
          key: "name",
          title: t("column.name"),
          render: (batch) => batch.display_name || t("batches.numbered", { n: batch.number }),
        },
        { key: "count", title: t("nav.feedback"), align: "right", render: (batch) => <Num value={batch.count} /> },
        {
          key: "sft",
          title: t("batches.corrections"),
          render: (batch) => <VersionCell name={batch.sft_version} count={batch.sft_count} />,
        },
        {
          key: "pairs",
          title: t("batches.pairs"),
          render: (batch) => <VersionCell name={batch.preference_version} count={batch.preference_count} />,
        },
        {
          key: "status",
          title: t("column.status"),
          sort: "state",
          render: (batch) => <State value={batch.state} why={batch.failure_reason} />,
        },
        {
          key: "created",
          title: t("column.created"),
          sort: "create_time",
          render: (batch) => <Time value={batch.create_time} />,
        },
        { key: "by", title: t("column.by"), render: (batch) => <Actor value={batch.created_by} /> },
        {
          key: "actions",
          title: t("column.actions"),
          render: (batch) =>
            mayStart &&
            batch.state === "STATE_READY" && (
              <Link to={`/p/${project}/pipelines?new=${lastPart(batch.name)}`}>{t("batches.startLap")}</Link>
            ),
        },
      ]}
    />
  );
}

function VersionCell({ name, count }: { name: string; count: number }) {
  if (!name) return <Nothing />;
  return (
    <span className="nowrap">
      <Ref name={name} /> <span className="quiet num">{count}</span>
    </span>
  );
}
