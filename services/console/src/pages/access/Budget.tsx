import { Form, Select } from "antd";
import { patch } from "@/api/client";
import { bare } from "@/api/names";
import { useChange } from "@/api/queries";
import type { ApiKey, Project, Spending } from "@/api/types";
import { useI18n } from "@/i18n";
import { formatCost, formatNumber } from "@/i18n/format";
import { Meter } from "@/pages/queue/Meter";
import "@/pages/queue/queue.css";
import { FormDrawer } from "@/ui/FormDrawer";
import { NumberInput } from "@/ui/NumberInput";
import { Nothing } from "@/ui/values";
import { bodyOf, type LimitValues, PERIODS, valuesOf } from "./limits";

/** What was used of a key's or a project's budgets: a bar for each, or the plain sums where there is none. */
export function Spent({ of, spending }: { of: ApiKey | Project; spending?: Spending }) {
  const { t, language } = useI18n();
  const cost = (microusd: number) => formatCost(language, microusd);
  const tokens = (count: number) => t("budget.tokens", { count: formatNumber(language, count) });
  const period = t(`budget.${bare(of.limits?.budget_period ?? "BUDGET_PERIOD_MONTH")}` as "budget.DAY");
  const microusd = Number(spending?.cost_microusd ?? 0);
  const used = Number(spending?.tokens ?? 0);
  const money = Number(of.limits?.budget_microusd ?? 0);
  const most = Number(of.limits?.budget_tokens ?? 0);
  if (!money && !most) {
    return spending ? <span className="num nowrap">{`${cost(microusd)} · ${tokens(used)}`}</span> : <Nothing />;
  }
  return (
    <div className="stack-s">
      {money > 0 && <Meter label={period} used={microusd} of={money} text={`${cost(microusd)} / ${cost(money)}`} />}
      {most > 0 && (
        <Meter label={period} used={used} of={most} text={`${formatNumber(language, used)} / ${tokens(most)}`} />
      )}
    </div>
  );
}

export function LimitFields() {
  const { t } = useI18n();
  const periods = PERIODS.map((value) => ({ value, label: t(`budget.${bare(value)}` as "budget.DAY") }));
  return (
    <>
      <Form.Item name="budget_usd" label={t("budget.money")} extra={t("budget.moneyHint")}>
        <NumberInput min={0} precision={6} prefix="$" style={{ width: 200 }} />
      </Form.Item>
      <Form.Item name="budget_tokens" label={t("budget.inTokens")}>
        <NumberInput min={0} precision={0} style={{ width: 200 }} />
      </Form.Item>
      <Form.Item name="budget_period" required label={t("budget.period")} extra={t("budget.periodHint")}>
        <Select options={periods} style={{ width: 200 }} />
      </Form.Item>
      <Form.Item name="requests_per_minute" label={t("keys.limit")} extra={t("keys.limitHint")}>
        <NumberInput min={0} precision={0} style={{ width: 200 }} />
      </Form.Item>
      <Form.Item name="tokens_per_minute" label={t("budget.tokensPerMinute")}>
        <NumberInput min={0} precision={0} style={{ width: 200 }} />
      </Form.Item>
      <Form.Item name="concurrent_requests" label={t("budget.concurrent")}>
        <NumberInput min={0} precision={0} style={{ width: 200 }} />
      </Form.Item>
    </>
  );
}

/** Changes the limits of `of`; closed while there is none. */
export function LimitsDrawer({
  of,
  title,
  onClose,
}: {
  of: ApiKey | Project | null;
  title: string;
  onClose: () => void;
}) {
  const { t } = useI18n();
  const change = useChange(["api_gateway", "inference_gateway"], (values: LimitValues) =>
    patch(`/${of?.name}`, { ...bodyOf(values), etag: of?.etag }),
  );
  return (
    <FormDrawer<LimitValues>
      open={of !== null}
      onClose={onClose}
      title={title}
      submitText={t("action.save")}
      initialValues={of ? valuesOf(of) : undefined}
      onSubmit={(values) => change.mutateAsync(values)}
    >
      <LimitFields />
    </FormDrawer>
  );
}
