import { ImportOutlined } from "@ant-design/icons";
import { Button, Tabs } from "antd";
import { useState } from "react";
import { useParams, useSearchParams } from "react-router";
import { lastPart } from "@/api/names";
import { useGet, useList, useMay, useProject } from "@/api/queries";
import type { Model, ModelVersion } from "@/api/types";
import { PageSkeleton } from "@/app/PageSkeleton";
import { useI18n } from "@/i18n";
import { Empty } from "@/ui/Empty";
import { LineageGraph } from "@/ui/lineage/LineageGraph";
import { Facts, Page, Panel } from "@/ui/Page";
import { isOpen, State } from "@/ui/State";
import { Trouble } from "@/ui/Trouble";
import { Bytes, Nothing, Time } from "@/ui/values";
import { Aliases } from "./Aliases";
import { Card } from "./Card";
import { ImportDrawer } from "./ImportDrawer";
import { parameters } from "./Models";
import { Quantisations } from "./Quantisations";
import { VersionView } from "./VersionView";
import "../datasets/datasets.css";

const IMPORT_POLL = 2000;
/** Tabs that need the whole width. */
const WIDE = ["lineage", "quantisations", "card"];

export function ModelDetail() {
  const { t } = useI18n();
  const project = useProject();
  const { id = "" } = useParams();
  const canWrite = useMay("ENGINEER");
  const [target, setTarget] = useState<Model | null>(null);
  const [address] = useSearchParams();
  const path = `/projects/${project}/models/${id}`;
  const model = useGet<Model>(path);
  const [importing, setImporting] = useState(false);
  const versions = useList<"versions", ModelVersion>(
    `${path}/versions`,
    { page_size: 100 },
    { refetchInterval: importing && IMPORT_POLL },
  );
  const all = versions.data?.versions ?? [];
  const now = all.some((version) => isOpen(version.state));
  if (now !== importing) setImporting(now);
  const back = { text: t("models.title"), to: `/p/${project}/models` };
  if (model.isPending || versions.isPending) return <PageSkeleton />;
  if (model.isError || versions.isError) {
    return (
      <Page title={id} back={back}>
        <Trouble error={model.error ?? versions.error} retry={() => model.refetch()} />
      </Page>
    );
  }
  const shown = all.find((version) => String(version.number) === address.get("version")) ?? all[0];
  return (
    <Page
      title={model.data.display_name || id}
      lead={model.data.description}
      back={back}
      actions={
        canWrite && (
          <Button icon={<ImportOutlined aria-hidden />} onClick={() => setTarget(model.data)}>
            {t("models.newVersion")}
          </Button>
        )
      }
    >
      <div className={WIDE.includes(address.get("tab") ?? "") ? "stack" : "columns"}>
        {shown ? <Views key={shown.name} model={model.data} version={shown} versions={all} /> : <NoVersion />}
        <div className="stack">
          <VersionList versions={all} shown={shown} model={model.data} />
          <About model={model.data} />
        </div>
      </div>
      <ImportDrawer target={target} onClose={() => setTarget(null)} />
    </Page>
  );
}

function Views({ model, version, versions }: { model: Model; version: ModelVersion; versions: ModelVersion[] }) {
  const { t } = useI18n();
  const [address, setAddress] = useSearchParams();
  return (
    <Tabs
      activeKey={address.get("tab") ?? "version"}
      onChange={(tab) => setAddress({ version: String(version.number), tab }, { replace: true })}
      items={[
        {
          key: "version",
          label: t("dataset.version", { n: version.number }),
          children: <VersionView version={version} />,
        },
        { key: "quantisations", label: t("quantisations.title"), children: <Quantisations version={version} /> },
        { key: "aliases", label: t("models.aliases"), children: <Aliases model={model} versions={versions} /> },
        { key: "card", label: t("models.card"), children: <Card version={version} /> },
        {
          key: "lineage",
          label: t("lineage.title"),
          children: (
            <Panel>
              <LineageGraph name={version.name} />
            </Panel>
          ),
        },
      ]}
    />
  );
}

function VersionList({ versions, shown, model }: { versions: ModelVersion[]; shown?: ModelVersion; model: Model }) {
  const { t } = useI18n();
  const [, setAddress] = useSearchParams();
  if (!versions.length) return null;
  return (
    <Panel title={t("dataset.versions")} flush>
      <ul className="version-list">
        {versions.map((version) => (
          <li key={version.name}>
            <button
              type="button"
              aria-current={version === shown}
              onClick={() => setAddress({ version: String(version.number) }, { replace: true })}
            >
              <span className="row">
                <strong className="nowrap">{t("dataset.version", { n: version.number })}</strong>
                <span className="grow row" style={{ gap: 4 }}>
                  {model.aliases
                    .filter((alias) => alias.version === version.name)
                    .map(({ alias }) => (
                      <span key={alias} className="chip accent">
                        {alias}
                      </span>
                    ))}
                </span>
                <State value={version.state} />
              </span>
              <span className="row quiet">
                <Time value={version.create_time} />
                <span className="grow" />
                <Bytes value={version.size_bytes} />
              </span>
            </button>
          </li>
        ))}
      </ul>
    </Panel>
  );
}

function About({ model }: { model: Model }) {
  const { t } = useI18n();
  return (
    <Panel>
      <Facts
        list
        rows={[
          [t("column.id"), <span className="mono">{lastPart(model.name)}</span>],
          [t("models.architecture"), model.architecture || <Nothing />],
          [t("models.parameters"), parameters(Number(model.parameter_count)) || <Nothing />],
          [t("column.size"), <Bytes value={model.size_bytes} />],
          [t("column.licence"), model.licence || <Nothing />],
          [t("column.origin"), model.origin || <Nothing />],
          [t("column.created"), <Time value={model.create_time} />],
          [t("column.updated"), <Time value={model.update_time} />],
        ]}
      />
    </Panel>
  );
}

function NoVersion() {
  const { t } = useI18n();
  return (
    <Panel>
      <Empty title={t("dataset.noVersion")} hint={t("models.noVersionHint")} />
    </Panel>
  );
}
