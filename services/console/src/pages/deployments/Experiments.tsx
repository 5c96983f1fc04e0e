import { Button, Form, Select, Table } from "antd";
import { useEffect, useState } from "react";
import { post } from "@/api/client";
import { bare, lastPart, requestId, shortName } from "@/api/names";
import { useChange, useList, useMay } from "@/api/queries";
import type { Arm, Deployment, Experiment } from "@/api/types";
import { useI18n } from "@/i18n";
import { formatNumber, formatPercent, formatPoints } from "@/i18n/format";
import { FormDrawer } from "@/ui/FormDrawer";
import { NumberInput } from "@/ui/NumberInput";
import { State } from "@/ui/State";
import { Trouble } from "@/ui/Trouble";
import { useConfirm } from "@/ui/useConfirm";
import { Time } from "@/ui/values";
import { IntervalOverTime } from "./IntervalOverTime";

const OWNERS = ["inference_gateway", "gpu_scheduler"];
const METRICS = ["FEEDBACK", "ERRORS", "LATENCY", "LENGTH"] as const;
const SHOWN = 10;

/** Comparisons of two targets on live traffic, newest first. */
export function Experiments({ deployment }: { deployment: Deployment }) {
  const { t, language } = useI18n();
  const mayWrite = useMay("ENGINEER");
  const [creating, setCreating] = useState(false);
  const list = useList<"experiments", Experiment>(
    `/${deployment.name}/experiments`,
    { page_size: SHOWN },
    { refetchInterval: 2000 },
  );
  if (list.isError) return <Trouble error={list.error} retry={() => list.refetch()} />;
  const rows = list.data?.experiments ?? [];
  const arms = deployment.targets.filter((target) => target.weight_percent > 0).length;
  return (
    <div className="stack-s">
      <div className="row">
        <p className="grow quiet">{t("experiment.lead")}</p>
        {mayWrite && arms !== 2 && <span className="quiet">{t("experiment.twoNeeded")}</span>}
        {mayWrite && (
          <Button
            size="small"
            disabled={arms !== 2 || rows.some((one) => bare(one.state) === "RUNNING")}
            onClick={() => setCreating(true)}
          >
            {t("experiment.new")}
          </Button>
        )}
      </div>
      <Table<Experiment>
        size="small"
        rowKey="name"
        loading={list.isPending}
        dataSource={rows}
        pagination={false}
        locale={{ emptyText: t("experiment.empty") }}
        scroll={{ x: "max-content" }}
        expandable={{ expandedRowRender: (one) => <IntervalOverTime of={one} /> }}
        columns={[
          { title: t("experiment.number"), render: (_, one) => <span className="num">{lastPart(one.name)}</span> },
          { title: t("experiment.metric"), render: (_, one) => t(`experiment.${metricOf(one)}`) },
          { title: "A", render: (_, one) => <Side of={one.a} /> },
          { title: "B", render: (_, one) => <Side of={one.b} /> },
          {
            title: t("experiment.difference"),
            render: (_, one) => (
              <span className="num nowrap">
                <b>{formatPoints(language, one.difference)}</b>{" "}
                <span className="quiet">
                  {formatPoints(language, one.low)} – {formatPoints(language, one.high)}
                </span>
              </span>
            ),
          },
          { title: t("experiment.result"), render: (_, one) => <Result of={one} /> },
          { title: t("column.status"), render: (_, one) => <State value={one.state} why={one.failure_reason} /> },
          { title: t("deployments.began"), render: (_, one) => <Time value={one.create_time} /> },
          { title: t("column.actions"), render: (_, one) => mayWrite && <Actions of={one} /> },
        ]}
      />
      <ExperimentDrawer deployment={creating ? deployment : null} onClose={() => setCreating(false)} />
    </div>
  );
}

function metricOf(one: Experiment): (typeof METRICS)[number] {
  return bare(one.metric).replace("METRIC_", "") as (typeof METRICS)[number];
}

function sideOf(one: Experiment, which: string): string {
  const side = which.slice(-2);
  const arm = side === "_A" ? one.a : side === "_B" ? one.b : undefined;
  return arm ? `${side.slice(1)} (${nameOf(arm)})` : "";
}

function nameOf(arm: Arm): string {
  return shortName(arm.variant) || arm.upstream_model || arm.target;
}

function Side({ of }: { of?: Arm | null }) {
  const { t, language } = useI18n();
  if (!of) return null;
  const count = Number(of.count);
  const share = formatPercent(language, count ? Number(of.hits) / count : 0, 1);
  return (
    <span className="nowrap">
      {nameOf(of)}{" "}
      <span className="quiet num">
        {count ? t("experiment.of", { share, count: formatNumber(language, count) }) : t("deployments.noAnswersYet")}
      </span>
    </span>
  );
}

function Result({ of }: { of: Experiment }) {
  const { t } = useI18n();
  const winner = sideOf(of, of.winner);
  if (winner) return <b>{t("experiment.wins", { what: winner })}</b>;
  if (of.winner.endsWith("_NONE")) return <b>{t("experiment.alike")}</b>;
  const leader = sideOf(of, of.leader);
  return (
    <span>
      {t("experiment.open")} {leader && <span className="quiet">{t("experiment.ifStopped", { what: leader })}</span>}
    </span>
  );
}

function Actions({ of }: { of: Experiment }) {
  const { t } = useI18n();
  const confirm = useConfirm();
  const stop = useChange(OWNERS, () => post<Experiment>(`/${of.name}:stop`, { etag: of.etag }));
  const promote = useChange(OWNERS, () => post<Deployment>(`/${of.name}:promote`, {}));
  const winner = sideOf(of, of.winner);
  if (bare(of.state) === "RUNNING") {
    const ask = () =>
      confirm({
        title: t("experiment.stopTitle"),
        hint: t("experiment.stopHint"),
        confirm: t("experiment.stop"),
        done: t("experiment.stopped"),
        act: () => stop.mutateAsync(undefined),
      });
    return (
      <Button size="small" onClick={ask}>
        {t("experiment.stop")}
      </Button>
    );
  }
  if (!winner || of.rollout) return null;
  const ask = () =>
    confirm({
      title: t("experiment.promoteTitle", { what: winner }),
      hint: t("experiment.promoteHint"),
      confirm: t("experiment.promote"),
      done: t("experiment.promoted"),
      act: () => promote.mutateAsync(undefined),
    });
  return (
    <Button size="small" onClick={ask}>
      {t("experiment.promote")}
    </Button>
  );
}

interface Values {
  metric: (typeof METRICS)[number];
  min_effect: number;
  error_chance: number;
  threshold?: number;
}

function ExperimentDrawer({ deployment, onClose }: { deployment: Deployment | null; onClose: () => void }) {
  const { t } = useI18n();
  const [form] = Form.useForm<Values>();
  const metric = Form.useWatch("metric", form);
  const [request, setRequest] = useState(requestId);
  useEffect(() => {
    if (deployment) setRequest(requestId());
  }, [deployment]);
  const create = useChange(OWNERS, (values: Values) =>
    post<Experiment>(`/${deployment?.name}/experiments`, {
      metric: `METRIC_${values.metric}`,
      min_effect: values.min_effect / 100,
      error_chance: values.error_chance / 100,
      threshold: values.threshold ?? 0,
      request_id: request,
    }),
  );
  const needed = [{ required: true, message: t("form.required") }];
  return (
    <FormDrawer<Values>
      open={deployment !== null}
      onClose={onClose}
      form={form}
      title={t("experiment.newTitle", { what: deployment ? lastPart(deployment.name) : "" })}
      lead={t("experiment.newLead")}
      submitText={t("experiment.new")}
      initialValues={{ metric: "FEEDBACK", min_effect: 5, error_chance: 5 }}
      onSubmit={(values) => create.mutateAsync(values)}
    >
      <Form.Item name="metric" label={t("experiment.metric")} rules={needed}>
        <Select options={METRICS.map((value) => ({ value, label: t(`experiment.${value}`) }))} />
      </Form.Item>
      {(metric === "LATENCY" || metric === "LENGTH") && (
        <Form.Item name="threshold" label={t("experiment.threshold")} tooltip={t("experiment.thresholdHint")}>
          <NumberInput min={0} />
        </Form.Item>
      )}
      <Form.Item name="min_effect" label={t("experiment.minEffect")} rules={needed}>
        <NumberInput min={0.1} max={99} />
      </Form.Item>
      <Form.Item name="error_chance" label={t("experiment.errorChance")} rules={needed}>
        <NumberInput min={0.1} max={50} suffix="%" />
      </Form.Item>
    </FormDrawer>
  );
}
