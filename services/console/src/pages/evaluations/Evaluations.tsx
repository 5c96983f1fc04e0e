import { PlusOutlined } from "@ant-design/icons";
import { Button, Tabs } from "antd";
import { useState } from "react";
import { Link, useSearchParams } from "react-router";
import { bare, lastPart } from "@/api/names";
import { useMay, useProject } from "@/api/queries";
import type { Evaluation, Suite } from "@/api/types";
import { useI18n } from "@/i18n";
import { formatPercent } from "@/i18n/format";
import { Empty } from "@/ui/Empty";
import { Ref } from "@/ui/Id";
import { Page } from "@/ui/Page";
import { type Column, ResourceTable } from "@/ui/ResourceTable";
import { State } from "@/ui/State";
import { useTitles } from "@/ui/useTitles";
import { Cost, Nothing, Time } from "@/ui/values";
import { Comparison } from "./Comparison";
import { EvaluateDrawer, JudgeDrawer, SuiteDrawer } from "./Drawers";
import { Verdicts } from "./Verdicts";

type Open = "evaluate" | "suite" | "judge" | null;

export function Evaluations() {
  const { t } = useI18n();
  const mayWrite = useMay("ENGINEER");
  const [open, setOpen] = useState<Open>(null);
  const [address, setAddress] = useSearchParams();
  const close = () => setOpen(null);
  return (
    <Page
      title={t("evaluations.title")}
      lead={t("evaluations.lead")}
      actions={
        mayWrite && (
          <>
            <Button onClick={() => setOpen("suite")}>{t("suites.new")}</Button>
            <Button onClick={() => setOpen("judge")}>{t("verdicts.new")}</Button>
            <Button type="primary" icon={<PlusOutlined aria-hidden />} onClick={() => setOpen("evaluate")}>
              {t("evaluations.start")}
            </Button>
          </>
        )
      }
    >
      <Tabs
        activeKey={address.get("tab") ?? "comparison"}
        onChange={(tab) => setAddress({ tab }, { replace: true })}
        items={[
          { key: "comparison", label: t("evaluations.comparison"), children: <Comparison /> },
          {
            key: "evaluations",
            label: t("evaluations.list"),
            children: <EvaluationList start={() => setOpen("evaluate")} />,
          },
          { key: "verdicts", label: t("verdicts.title"), children: <Verdicts /> },
          { key: "suites", label: t("suites.title"), children: <SuiteList /> },
        ]}
        destroyOnHidden
      />
      <EvaluateDrawer open={open === "evaluate"} onClose={close} />
      <SuiteDrawer open={open === "suite"} onClose={close} />
      <JudgeDrawer open={open === "judge"} onClose={close} />
    </Page>
  );
}

function EvaluationList({ start }: { start: () => void }) {
  const { t, language } = useI18n();
  const titles = useTitles();
  const project = useProject();
  const mayWrite = useMay("ENGINEER");
  const columns: Column<Evaluation>[] = [
    {
      key: "number",
      title: t("column.number"),
      sort: "number",
      align: "right",
      render: (one) => <span className="num">{one.number}</span>,
    },
    {
      key: "name",
      title: t("column.name"),
      sort: "display_name",
      render: (one) => <Link to={`/p/${project}/evaluations/${lastPart(one.name)}`}>{titles.evaluation(one)}</Link>,
    },
    { key: "variant", title: t("models.variant"), render: (one) => <Ref name={one.variant} /> },
    { key: "suite", title: t("evaluations.suite"), render: (one) => lastPart(one.suite) },
    {
      key: "status",
      title: t("column.status"),
      sort: "state",
      render: (one) => <State value={one.state} why={one.failure_reason || one.waiting_reason} />,
    },
    {
      key: "score",
      title: t("metric.exact"),
      align: "right",
      render: (one) => {
        const score = one.scores.find((found) => found.slice === "" && found.metric === "exact");
        return score ? <span className="num">{formatPercent(language, score.value)}</span> : <Nothing />;
      },
    },
    { key: "cost", title: t("column.cost"), align: "right", render: (one) => <Cost microusd={one.cost_microusd} /> },
    {
      key: "created",
      title: t("column.created"),
      sort: "create_time",
      render: (one) => <Time value={one.create_time} />,
    },
    {
      key: "updated",
      title: t("column.updated"),
      sort: "update_time",
      render: (one) => <Time value={one.update_time} />,
    },
  ];
  const action = mayWrite && (
    <Button type="primary" onClick={start}>
      {t("evaluations.start")}
    </Button>
  );
  return (
    <ResourceTable<Evaluation>
      path={`/projects/${project}/evaluations`}
      field="evaluations"
      columns={columns}
      rowKey={(one) => one.name}
      refetchInterval={5000}
      empty={<Empty title={t("evaluations.empty")} hint={t("evaluations.emptyHint")} action={action} />}
    />
  );
}

function SuiteList() {
  const { t, word } = useI18n();
  const project = useProject();
  const columns: Column<Suite>[] = [
    {
      key: "id",
      title: t("column.id"),
      sort: "name",
      render: (suite) => <span className="mono">{lastPart(suite.name)}</span>,
    },
    {
      key: "name",
      title: t("column.name"),
      sort: "display_name",
      render: (suite) => suite.display_name || lastPart(suite.name),
    },
    { key: "data", title: t("run.datasets"), render: (suite) => <Ref name={suite.dataset_version} /> },
    { key: "split", title: t("dataset.split"), render: (suite) => word("split", bare(suite.split)) },
    {
      key: "scorer",
      title: t("suites.scorer"),
      render: (suite) => (
        <span>
          {word("scorer", suite.scorer?.kind.replace("KIND_", "") ?? "")}{" "}
          <span className="mono quiet">{suite.scorer?.exact_fields.join(", ")}</span>
        </span>
      ),
    },
    {
      key: "created",
      title: t("column.created"),
      sort: "create_time",
      render: (suite) => <Time value={suite.create_time} />,
    },
    {
      key: "updated",
      title: t("column.updated"),
      sort: "update_time",
      render: (suite) => <Time value={suite.update_time} />,
    },
  ];
  return (
    <ResourceTable<Suite>
      path={`/projects/${project}/suites`}
      field="suites"
      columns={columns}
      rowKey={(suite) => suite.name}
      empty={<Empty title={t("suites.empty")} hint={t("suites.emptyHint")} />}
    />
  );
}
