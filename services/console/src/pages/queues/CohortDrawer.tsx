import { Form, Select } from "antd";
import { patch, post } from "@/api/client";
import { lastPart } from "@/api/names";
import { useChange } from "@/api/queries";
import type { Cohort } from "@/api/types";
import { useI18n } from "@/i18n";
import { FormDrawer } from "@/ui/FormDrawer";
import { IdField } from "@/ui/IdField";
import { NumberInput } from "@/ui/NumberInput";
import { QuotaFields } from "./QuotaFields";
import { bodyOf, type QuotaValues, valuesOf } from "./quotas";

interface Values {
  cohort_id?: string;
  parent?: string;
  weight: number;
  quotas: QuotaValues[];
}

/** Makes a cohort, or changes `of` where that has a name; closed while there is none. */
export function CohortDrawer({
  of,
  cohorts,
  onClose,
}: {
  of: Partial<Cohort> | null;
  cohorts: Cohort[];
  onClose: () => void;
}) {
  const { t } = useI18n();
  const change = useChange(["gpu_scheduler"], (values: Values) => {
    const fields = { parent: values.parent ?? "", weight: values.weight, quotas: bodyOf(values.quotas) };
    return of?.name
      ? patch(`/cohorts/${lastPart(of.name)}`, { ...fields, etag: of.etag })
      : post("/cohorts", { cohort_id: values.cohort_id, cohort: fields });
  });
  return (
    <FormDrawer<Values>
      open={of !== null}
      onClose={onClose}
      size={640}
      title={of?.name ? t("quotas.edit", { what: lastPart(of.name) }) : t("quotas.newCohort")}
      lead={of?.name ? t("quotas.belowUsed") : undefined}
      submitText={of?.name ? t("action.save") : t("action.create")}
      initialValues={{
        parent: of?.parent ?? "",
        weight: of?.weight ?? 1,
        quotas: valuesOf(of?.quotas ?? []),
      }}
      onSubmit={(values) => change.mutateAsync(values)}
    >
      {!of?.name && <IdField name="cohort_id" />}
      <CohortField
        name="parent"
        hint={t("quotas.parentHint")}
        cohorts={cohorts.filter((one) => one.name !== of?.name)}
      />
      <WeightField />
      <QuotaFields />
    </FormDrawer>
  );
}

export function CohortField({ name, hint, cohorts }: { name: string; hint: string; cohorts: Cohort[] }) {
  const { t } = useI18n();
  return (
    <Form.Item name={name} label={t("quotas.inCohort")} extra={hint}>
      <Select
        options={[
          { value: "", label: t("quotas.noCohort") },
          ...cohorts.map((one) => ({ value: one.name, label: <span translate="no">{lastPart(one.name)}</span> })),
        ]}
      />
    </Form.Item>
  );
}

export function WeightField() {
  const { t } = useI18n();
  return (
    <Form.Item
      name="weight"
      label={t("quotas.weight")}
      extra={t("quotas.weightHint")}
      rules={[{ required: true, message: t("form.required") }]}
    >
      <NumberInput min={0} max={1_000_000} style={{ width: 200 }} />
    </Form.Item>
  );
}
