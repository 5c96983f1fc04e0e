import { UploadOutlined } from "@ant-design/icons";
import { Button, Tabs } from "antd";
import { useState } from "react";
import { useParams, useSearchParams } from "react-router";
import { bare } from "@/api/names";
import { useGet, useList, useMay, useProject } from "@/api/queries";
import type { Dataset, DatasetVersion } from "@/api/types";
import { PageSkeleton } from "@/app/PageSkeleton";
import { useI18n } from "@/i18n";
import { formatNumber, languageName } from "@/i18n/format";
import { Actor } from "@/ui/Actor";
import { Empty } from "@/ui/Empty";
import { Facts, Page, Panel } from "@/ui/Page";
import { isOpen, State } from "@/ui/State";
import { Trouble } from "@/ui/Trouble";
import { Bytes, Nothing, Time } from "@/ui/values";
import { RefusedRows } from "./RefusedRows";
import { RowViewer } from "./RowViewer";
import { UploadDrawer } from "./UploadDrawer";
import { VersionOverview } from "./VersionOverview";
import "./datasets.css";

/** Milliseconds between looks at an import; it says nothing until it is done. */
const IMPORT_POLL = 1500;

export function DatasetDetail() {
  const { t, word, language } = useI18n();
  const project = useProject();
  const { id = "" } = useParams();
  const canWrite = useMay("ENGINEER");
  const [target, setTarget] = useState<Dataset | null>(null);
  const path = `/projects/${project}/datasets/${id}`;
  const dataset = useGet<Dataset>(path);
  const versions = useVersions(path);
  const [address] = useSearchParams();
  if (dataset.isPending || versions.isPending) return <PageSkeleton />;
  if (dataset.isError || versions.isError) {
    return (
      <Page title={id} back={{ text: t("datasets.title"), to: `/p/${project}/datasets` }}>
        <Trouble error={dataset.error ?? versions.error} retry={() => dataset.refetch()} />
      </Page>
    );
  }
  const all = versions.data.versions;
  const shown = all.find((version) => String(version.number) === address.get("version")) ?? all[0];
  const { data } = dataset;
  return (
    <Page
      title={data.display_name || id}
      lead={data.description}
      back={{ text: t("datasets.title"), to: `/p/${project}/datasets` }}
      actions={
        canWrite && (
          <Button icon={<UploadOutlined aria-hidden />} onClick={() => setTarget(data)}>
            {t("dataset.newVersion")}
          </Button>
        )
      }
    >
      <div className="columns">
        {shown ? <VersionTabs key={shown.name} version={shown} /> : <NoVersion />}
        <div className="stack">
          <VersionList versions={all} shown={shown} />
          <Panel>
            <Facts
              list
              rows={[
                [t("column.id"), <span className="mono">{id}</span>],
                [t("column.type"), word("type", bare(data.type))],
                [t("column.licence"), data.licence || <Nothing />],
                [t("column.origin"), data.origin || <Nothing />],
                [t("upload.language"), data.language ? languageName(language, data.language) : <Nothing />],
                [t("column.size"), <Bytes value={data.size_bytes} />],
                [t("column.created"), <Time value={data.create_time} />],
                [t("column.updated"), <Time value={data.update_time} />],
                [t("column.by"), <Actor value={data.created_by} />],
              ]}
            />
          </Panel>
        </div>
      </div>
      <UploadDrawer target={target} onClose={() => setTarget(null)} />
    </Page>
  );
}

function useVersions(path: string) {
  const [importing, setImporting] = useState(false);
  const versions = useList<"versions", DatasetVersion>(
    `${path}/versions`,
    { page_size: 100 },
    { refetchInterval: importing && IMPORT_POLL },
  );
  const now = versions.data?.versions.some((version) => isOpen(version.state)) ?? false;
  if (now !== importing) setImporting(now);
  return versions;
}

function VersionTabs({ version }: { version: DatasetVersion }) {
  const { t, language } = useI18n();
  const [address, setAddress] = useSearchParams();
  const tab = address.get("tab") ?? "overview";
  const refused = Number(version.refused_count);
  return (
    <Tabs
      activeKey={tab}
      onChange={(next) => setAddress({ version: String(version.number), tab: next }, { replace: true })}
      items={[
        { key: "overview", label: t("dataset.overview"), children: <VersionOverview version={version} /> },
        {
          key: "rows",
          label: t("dataset.rows"),
          disabled: bare(version.state) !== "READY",
          children: <RowViewer version={version} />,
        },
        {
          key: "refused",
          label: refused ? `${t("dataset.refused")} · ${formatNumber(language, refused)}` : t("dataset.refused"),
          children: <RefusedRows version={version} />,
        },
      ]}
    />
  );
}

function VersionList({ versions, shown }: { versions: DatasetVersion[]; shown?: DatasetVersion }) {
  const { t, language } = useI18n();
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
                <strong>{t("dataset.version", { n: version.number })}</strong>
                <span className="grow ellipsis quiet">{version.display_name}</span>
                <State value={version.state} />
              </span>
              <span className="row quiet">
                <Time value={version.create_time} />
                <span className="grow" />
                <span className="num">
                  {t("picker.rows", {
                    n: Number(version.train_count),
                    rows: formatNumber(language, Number(version.train_count)),
                  })}
                </span>
              </span>
            </button>
          </li>
        ))}
      </ul>
    </Panel>
  );
}

function NoVersion() {
  const { t } = useI18n();
  return (
    <Panel>
      <Empty title={t("dataset.noVersion")} hint={t("dataset.noVersionHint")} />
    </Panel>
  );
}
