import { Form, Select } from "antd";
import { patch, post } from "@/api/client";
import { bare, lastPart } from "@/api/names";
import { useChange } from "@/api/queries";
import type { ClusterQueue, Cohort, PreemptionPolicy } from "@/api/types";
import { type PlainKey, useI18n } from "@/i18n";
import { FormDrawer, More } from "@/ui/FormDrawer";
import { IdField } from "@/ui/IdField";
import { NumberInput } from "@/ui/NumberInput";
import { CohortField, WeightField } from "./CohortDrawer";
import { Excesses } from "./Excesses";
import { QuotaFields } from "./QuotaFields";
import { bodyOf, type QuotaValues, valuesOf } from "./quotas";

interface Values {
  cluster_queue_id?: string;
  cohort?: string;
  weight: number;
  strategy: string;
  within_cluster_queue: PreemptionPolicy;
  reclaim_within_cohort: PreemptionPolicy;
  borrow_within_cohort: PreemptionPolicy;
  borrow_max_priority?: number | null;
  quotas: QuotaValues[];
}

const STRATEGIES = ["STRATEGY_BEST_EFFORT_FIFO", "STRATEGY_STRICT_FIFO"];
const WITHIN = ["POLICY_NEVER", "POLICY_LOWER_PRIORITY", "POLICY_LOWER_OR_NEWER_EQUAL_PRIORITY"];
const ACROSS = ["POLICY_NEVER", "POLICY_LOWER_PRIORITY", "POLICY_ANY"];
/** As the scheduler has them where nobody says otherwise. */
const DEFAULTS = {
  within_cluster_queue: "POLICY_LOWER_PRIORITY",
  reclaim_within_cohort: "POLICY_ANY",
  borrow_within_cohort: "POLICY_NEVER",
};
const RULES: [name: string, label: PlainKey, policies: string[]][] = [
  ["within_cluster_queue", "quotas.within", WITHIN],
  ["reclaim_within_cohort", "quotas.reclaim", ACROSS],
  ["borrow_within_cohort", "quotas.borrowWithin", ACROSS],
];

interface Props {
  of: Partial<ClusterQueue> | null;
  cohorts: Cohort[];
  onClose: () => void;
}

/** Makes a cluster queue, or changes `of` where that has a name; closed while there is none. */
export function ClusterQueueDrawer({ of, cohorts, onClose }: Props) {
  const { t } = useI18n();
  const change = useChange(["gpu_scheduler"], (values: Values) =>
    of?.name
      ? patch(`/cluster-queues/${lastPart(of.name)}`, { ...fieldsOf(values), etag: of.etag })
      : post("/cluster-queues", { cluster_queue_id: values.cluster_queue_id, cluster_queue: fieldsOf(values) }),
  );
  return (
    <FormDrawer<Values>
      open={of !== null}
      onClose={onClose}
      size={640}
      title={of?.name ? t("quotas.edit", { what: lastPart(of.name) }) : t("quotas.newQueue")}
      lead={of?.name ? t("quotas.belowUsed") : undefined}
      submitText={of?.name ? t("action.save") : t("action.create")}
      initialValues={{
        cohort: of?.cohort ?? "",
        weight: of?.weight ?? 1,
        strategy: of?.strategy ?? STRATEGIES[0],
        ...DEFAULTS,
        ...of?.preemption,
        quotas: valuesOf(of?.quotas ?? []),
      }}
      onSubmit={(values) => change.mutateAsync(values)}
    >
      {!of?.name && <IdField name="cluster_queue_id" />}
      <CohortField name="cohort" hint={t("quotas.cohortHint")} cohorts={cohorts} />
      <QuotaFields />
      {of?.name && <QueueExcesses of={of} />}
      <More title={t("form.more")}>
        <RuleFields />
      </More>
    </FormDrawer>
  );
}

/** By the cohort that the form has, which may be another than it was. */
function QueueExcesses({ of }: { of: Partial<ClusterQueue> }) {
  const cohort: string | undefined = Form.useWatch("cohort");
  return <Excesses before={of.quotas ?? []} inCohort={!!cohort} />;
}

function RuleFields() {
  const { t, word } = useI18n();
  const choices = (prefix: string, values: string[]) =>
    values.map((value) => ({ value, label: word(prefix, bare(value)) }));
  return (
    <>
      <WeightField />
      <Form.Item name="strategy" required label={t("quotas.order")} extra={t("quotas.orderHint")}>
        <Select options={choices("quotas.strategy", STRATEGIES)} />
      </Form.Item>
      <strong>{t("quotas.rules")}</strong>
      {RULES.map(([name, label, policies]) => (
        <Form.Item key={name} name={name} required label={t(label as "quotas.within")}>
          <Select options={choices("quotas.policy", policies)} />
        </Form.Item>
      ))}
      <Form.Item name="borrow_max_priority" label={t("quotas.maxPriority")} extra={t("quotas.maxPriorityHint")}>
        <NumberInput precision={0} style={{ width: 200 }} />
      </Form.Item>
    </>
  );
}

function fieldsOf(values: Values): object {
  return {
    cohort: values.cohort ?? "",
    weight: values.weight,
    strategy: values.strategy,
    preemption: {
      within_cluster_queue: values.within_cluster_queue,
      reclaim_within_cohort: values.reclaim_within_cohort,
      borrow_within_cohort: values.borrow_within_cohort,
      ...(values.borrow_max_priority != null && { borrow_max_priority: values.borrow_max_priority }),
    },
    quotas: bodyOf(values.quotas),
  };
}
