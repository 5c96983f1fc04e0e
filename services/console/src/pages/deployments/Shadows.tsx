import { Button, Form, Input, Segmented, Table } from "antd";
import { useState } from "react";
import { post } from "@/api/client";
import { lastPart, shortName } from "@/api/names";
import { useChange, useGet, useList, useMay } from "@/api/queries";
import type { Deployment, Shadow, ShadowEstimate, ShadowPair } from "@/api/types";
import { useI18n } from "@/i18n";
import { formatNumber, formatPercent } from "@/i18n/format";
import { FormDrawer } from "@/ui/FormDrawer";
import { NumberInput } from "@/ui/NumberInput";
import { VariantPicker } from "@/ui/Pickers";
import { Trouble } from "@/ui/Trouble";
import { useConfirm } from "@/ui/useConfirm";
import { Time } from "@/ui/values";

const OWNERS = ["inference_gateway", "gpu_scheduler"];
const PAIRS = 20;

/** Models that answer copies of a deployment's requests, and how their answers compare. */
export function Shadows({ deployment }: { deployment: Deployment }) {
  const { t, language } = useI18n();
  const mayWrite = useMay("ENGINEER");
  const [trying, setTrying] = useState(false);
  const shadows = useGet<{ shadows: Shadow[] }>(`/${deployment.name}/shadows`, {}, { refetchInterval: 5000 });
  const confirm = useConfirm();
  const stop = useChange(OWNERS, () => post<Deployment>(`/${deployment.name}:stopShadows`, {}));
  const id = lastPart(deployment.name);
  const askStop = () =>
    confirm({
      title: t("shadow.stopTitle", { what: id }),
      hint: t("shadow.stopHint"),
      confirm: t("shadow.stop"),
      done: t("shadow.stopped"),
      act: () => stop.mutateAsync(undefined),
    });
  if (shadows.isError) return <Trouble error={shadows.error} retry={() => shadows.refetch()} />;
  const rows = shadows.data?.shadows ?? [];
  return (
    <div className="stack-s">
      <div className="row">
        <p className="grow quiet">{t("shadow.lead")}</p>
        {mayWrite && rows.some((one) => one.percent > 0) && (
          <Button size="small" onClick={askStop}>
            {t("shadow.stop")}
          </Button>
        )}
        {mayWrite && (
          <Button size="small" onClick={() => setTrying(true)}>
            {t("shadow.new")}
          </Button>
        )}
      </div>
      <Table<Shadow>
        size="small"
        rowKey="name"
        loading={shadows.isPending}
        dataSource={rows}
        pagination={false}
        locale={{ emptyText: t("shadow.empty") }}
        expandable={{ expandedRowRender: (one) => <Pairs of={one} /> }}
        columns={[
          { title: t("shadow.model"), render: (_, one) => shortName(one.variant) || one.upstream_model },
          {
            title: t("deployments.share"),
            render: (_, one) => (one.percent ? formatPercent(language, one.percent / 100, 0) : t("shadow.off")),
          },
          { title: t("shadow.copies"), align: "right", render: (_, one) => formatNumber(language, Number(one.count)) },
          { title: t("shadow.agreement"), render: (_, one) => <Share of={one.agreement} /> },
          { title: t("shadow.similarity"), render: (_, one) => <Share of={one.similarity} /> },
          { title: t("shadow.length"), render: (_, one) => <Ratio of={one.length_ratio} /> },
          { title: t("shadow.time"), render: (_, one) => <Ratio of={one.latency_ratio} /> },
          { title: t("shadow.failed"), render: (_, one) => <Share of={one.error_rate} /> },
        ]}
      />
      <ShadowDrawer deployment={trying ? deployment : null} onClose={() => setTrying(false)} />
    </div>
  );
}

/** What both answered where they did not say the same, side by side. */
function Pairs({ of }: { of: Shadow }) {
  const { t, word, language } = useI18n();
  const { data, error, isPending } = useList<"pairs", ShadowPair>(`/${of.name}/pairs`, {
    page_size: PAIRS,
    only_differing: "true",
  });
  if (error) return <Trouble error={error} />;
  return (
    <Table<ShadowPair>
      size="small"
      rowKey="name"
      title={() => t("shadow.pairs")}
      loading={isPending}
      dataSource={data?.pairs ?? []}
      pagination={false}
      locale={{ emptyText: t("shadow.noPairs") }}
      tableLayout="fixed"
      columns={[
        { title: t("column.created"), width: 150, render: (_, one) => <Time value={one.create_time} /> },
        { title: t("shadow.asked"), render: (_, one) => <Said text={one.prompt} /> },
        { title: t("shadow.live"), render: (_, one) => <Said text={one.answer} /> },
        {
          title: t("shadow.title"),
          render: (_, one) =>
            one.failure_reason ? word("reason", one.failure_reason) : <Said text={one.shadow_answer} />,
        },
        {
          title: t("shadow.similarity"),
          align: "right",
          width: 110,
          render: (_, one) => <span className="num">{formatPercent(language, one.similarity, 0)}</span>,
        },
      ]}
    />
  );
}

function Said({ text }: { text: string }) {
  const { t } = useI18n();
  return text ? <span className="said">{text}</span> : <span className="quiet">{t("shadow.notKept")}</span>;
}

function Share({ of }: { of?: ShadowEstimate | null }) {
  const { t, language } = useI18n();
  if (!Number(of?.count ?? 0) || !of) return <span className="quiet">{t("shadow.notKnown")}</span>;
  return (
    <Interval
      value={formatPercent(language, of.value, 0)}
      low={formatPercent(language, of.low, 0)}
      high={formatPercent(language, of.high, 0)}
    />
  );
}

function Ratio({ of }: { of?: ShadowEstimate | null }) {
  const { t, language } = useI18n();
  if (!Number(of?.count ?? 0) || !of) return <span className="quiet">{t("shadow.notKnown")}</span>;
  const text = (value: number) => formatNumber(language, value, 2);
  return <Interval value={t("shadow.times", { value: text(of.value) })} low={text(of.low)} high={text(of.high)} />;
}

function Interval({ value, low, high }: { value: string; low: string; high: string }) {
  return (
    <span className="num nowrap">
      <b>{value}</b>{" "}
      <span className="quiet">
        {low} – {high}
      </span>
    </span>
  );
}

interface ShadowValues {
  kind: "variant" | "upstream";
  percent: number;
  variant?: string;
  upstream_url?: string;
  upstream_model?: string;
  upstream_key_ref?: string;
  region?: string;
}

function ShadowDrawer({ deployment, onClose }: { deployment: Deployment | null; onClose: () => void }) {
  const { t } = useI18n();
  const [form] = Form.useForm<ShadowValues>();
  const kind = Form.useWatch("kind", form);
  const needed = [{ required: true, message: t("form.required") }];
  const begin = useChange(OWNERS, ({ kind: _, percent, ...target }: ShadowValues) =>
    post<Deployment>(`/${deployment?.name}:setShadow`, { percent, target }),
  );
  return (
    <FormDrawer<ShadowValues>
      open={deployment !== null}
      onClose={onClose}
      form={form}
      title={t("shadow.newTitle", { what: deployment ? lastPart(deployment.name) : "" })}
      lead={t("shadow.newLead")}
      submitText={t("shadow.new")}
      initialValues={{ kind: "variant", percent: 10 }}
      onSubmit={(values) => begin.mutateAsync(values)}
    >
      <Form.Item name="kind" required label={t("deployments.serves")}>
        <Segmented
          aria-label={t("deployments.serves")}
          options={[
            { value: "variant", label: t("deployments.ownModel") },
            { value: "upstream", label: t("engine.OPENAI") },
          ]}
        />
      </Form.Item>
      {kind === "upstream" ? (
        <>
          <Form.Item name="upstream_url" label={t("deployments.upstreamUrl")} rules={needed}>
            <Input placeholder="http://127.0.0.1:11434/v1" className="mono" />
          </Form.Item>
          <Form.Item name="upstream_model" label={t("deployments.upstreamModel")} rules={needed}>
            <Input className="mono" />
          </Form.Item>
          <Form.Item
            name="upstream_key_ref"
            label={t("deployments.upstreamKey")}
            tooltip={t("deployments.upstreamKeyHint")}
          >
            <Input className="mono" autoComplete="off" />
          </Form.Item>
          <Form.Item name="region" label={t("traffic.region")} tooltip={t("traffic.regionHint")}>
            <Input className="mono" maxLength={63} />
          </Form.Item>
        </>
      ) : (
        <Form.Item name="variant" label={t("models.variant")} rules={needed}>
          <VariantPicker />
        </Form.Item>
      )}
      <Form.Item name="percent" label={t("shadow.percent")} rules={needed}>
        <NumberInput min={1} max={100} precision={0} suffix="%" />
      </Form.Item>
    </FormDrawer>
  );
}
