import { ExperimentOutlined, ImportOutlined } from "@ant-design/icons";
import { Button } from "antd";
import { useState } from "react";
import { Link } from "react-router";
import { partOf } from "@/api/names";
import { useMay, useProject } from "@/api/queries";
import type { Model } from "@/api/types";
import { useI18n } from "@/i18n";
import { Empty } from "@/ui/Empty";
import { Page } from "@/ui/Page";
import { ResourceTable } from "@/ui/ResourceTable";
import { useVersionedColumns } from "@/ui/useVersionedColumns";
import { Nothing } from "@/ui/values";
import { ImportDrawer } from "./ImportDrawer";

export function Models() {
  const { t } = useI18n();
  const project = useProject();
  const canWrite = useMay("ENGINEER");
  const [target, setTarget] = useState<Model | "new" | null>(null);
  const columns = useVersionedColumns<Model>({
    collection: "models",
    component: "model_registry",
    own: [
      { key: "type", title: t("column.type"), render: (row) => <Architecture model={row} /> },
      { key: "aliases", title: t("models.aliases"), render: (row) => <Aliases model={row} /> },
    ],
    newVersion: t("models.newVersion"),
    addVersion: setTarget,
  });
  const add = canWrite && (
    <Button type="primary" icon={<ImportOutlined aria-hidden />} onClick={() => setTarget("new")}>
      {t("models.import")}
    </Button>
  );
  return (
    <Page
      title={t("models.title")}
      lead={t("models.lead")}
      actions={
        <>
          <Link to={`/p/${project}/fit`}>
            <Button icon={<ExperimentOutlined aria-hidden />}>{t("fit.open")}</Button>
          </Link>
          {add}
        </>
      }
    >
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
