import { Form, Select } from "antd";
import { bare } from "@/api/names";
import type { Health, Method, RunSpec } from "@/api/types";
import { useI18n } from "@/i18n";
import { NumberInput } from "@/ui/NumberInput";
import { Facts } from "@/ui/Page";
import { type Setting, useSettings } from "./settings";

/** As the form holds it: actions without their prefix. */
export type HealthValues = Record<string, string | number | undefined>;

/** Which alarm, and what follows it. */
export function HealthFields({ method, under }: { method: Method | undefined; under: string[] }) {
  const { word } = useI18n();
  const rules = useSettings(method, "health_schema");
  const field = (one: Setting) =>
    one.enum ? (
      <Select options={one.enum.map((value) => ({ value, label: word("healthAction", value) }))} />
    ) : (
      <NumberInput min={one.minimum ?? one.exclusiveMinimum} max={one.maximum ?? one.exclusiveMaximum} />
    );
  return (
    <div className="form-grid">
      {rules.map((one) => (
        <Form.Item
          key={`${method} ${one.path.join(".")}`}
          name={[...under, ...one.path]}
          label={one.title}
          tooltip={one.description}
          initialValue={one.default}
          rules={[{ required: true, message: word("form", "required") }]}
        >
          {field(one)}
        </Form.Item>
      ))}
    </div>
  );
}

export function HealthFacts({ spec }: { spec: RunSpec }) {
  const { t, word } = useI18n();
  const rules = useSettings(spec.method, "health_schema");
  const chosen = (spec.health ?? {}) as Record<string, string | number | null>;
  const shown = (value: string | number) =>
    typeof value === "string" ? word("healthAction", bare(value)) : String(value);
  const rows = rules.flatMap((one): [string, string][] => {
    const value = chosen[one.path[0] ?? ""];
    return value == null || value === "ACTION_UNSPECIFIED" ? [] : [[one.title, shown(value)]];
  });
  if (!rows.length) return null;
  return (
    <details className="more" style={{ marginTop: 14, marginBottom: 0 }}>
      <summary>{t("run.healthRules")}</summary>
      <div className="more-body">
        <Facts list rows={rows} />
      </div>
    </details>
  );
}

export function toHealth(values: HealthValues | undefined): Partial<Health> {
  const sent = Object.entries(values ?? {}).map(([name, value]) => [
    name,
    typeof value === "string" ? `ACTION_${value}` : value,
  ]);
  return Object.fromEntries(sent);
}
