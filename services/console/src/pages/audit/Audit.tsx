import { Select } from "antd";
import { useState } from "react";
import { lastPart } from "@/api/names";
import { useProject } from "@/api/queries";
import type { AuditEntry } from "@/api/types";
import { useI18n } from "@/i18n";
import { Actor } from "@/ui/Actor";
import { Empty } from "@/ui/Empty";
import { Copyable, Ref } from "@/ui/Id";
import { Page } from "@/ui/Page";
import { ResourceTable } from "@/ui/ResourceTable";
import { State } from "@/ui/State";
import { Nothing, Time } from "@/ui/values";

export function Audit() {
  const { t, word } = useI18n();
  const project = useProject();
  const [outcome, setOutcome] = useState("");
  return (
    <Page title={t("audit.title")} lead={t("audit.lead")}>
      <ResourceTable<AuditEntry>
        path={`/projects/${project}/audit`}
        field="audit_entries"
        params={{ filter: outcome && `outcome=${outcome}` }}
        pageSize={30}
        rowKey={(entry) => entry.name}
        tools={
          <Select
            aria-label={t("audit.outcome")}
            value={outcome}
            onChange={setOutcome}
            style={{ minWidth: 130 }}
            options={[
              { value: "", label: t("action.all") },
              ...["DONE", "DENIED", "FAILED"].map((one) => ({ value: one, label: word("outcome", one) })),
            ]}
          />
        }
        empty={<Empty title={t("audit.empty")} hint={t("audit.emptyHint")} />}
        columns={[
          {
            key: "time",
            title: t("audit.when"),
            sort: "create_time",
            render: (entry) => <Time value={entry.create_time} />,
          },
          {
            key: "actor",
            title: t("audit.actor"),
            sort: "actor",
            render: (entry) => <Actor value={entry.actor} />,
          },
          {
            key: "action",
            title: t("audit.action"),
            sort: "action",
            render: (entry) => <Action value={entry.action} />,
          },
          {
            key: "resource",
            title: t("audit.resource"),
            render: (entry) => (entry.resource ? <Ref name={entry.resource} /> : <Nothing />),
          },
          {
            key: "outcome",
            title: t("audit.outcome"),
            sort: "outcome",
            render: (entry) => <State value={entry.outcome} why={entry.reason} />,
          },
          {
            key: "trace",
            title: t("audit.trace"),
            render: (entry) =>
              entry.trace_id ? <Copyable value={entry.trace_id} shown={entry.trace_id.slice(0, 8)} /> : <Nothing />,
          },
        ]}
      />
    </Page>
  );
}

/** The RPC in words where we have them; its own name is what a program searches for. */
function Action({ value }: { value: string }) {
  const { word } = useI18n();
  return <span title={value}>{word("rpc", lastPart(value.replace(".", "/")), value)}</span>;
}
