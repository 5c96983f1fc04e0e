import { DeleteOutlined, PlusOutlined } from "@ant-design/icons";
import { Button, Form, Input, Select } from "antd";
import type { GateRule } from "@/api/types";
import { useI18n } from "@/i18n";
import { NumberInput } from "@/ui/NumberInput";
import "./evaluations.css";

/** A rule as people write it: the bound in percentage points. */
export interface RuleValues {
  which: "all" | "only" | "except";
  slice?: string;
  metric: string;
  points: number;
}

/** Nothing that worked may get more than five points worse. */
export const USUAL_RULES: RuleValues[] = [{ which: "all", metric: "exact", points: -5 }];

export function toRule({ which, slice, metric, points }: RuleValues): GateRule {
  const text = slice?.trim() ?? "";
  return {
    slice: which === "all" ? "" : `${which === "except" ? "!" : ""}${text}`,
    metric,
    min_lower_bound: points / 100,
  };
}

/** The rules of a gate, as a list that grows and shrinks. */
export function GateRules({ name }: { name: string | string[] }) {
  const { t, word } = useI18n();
  return (
    <Form.Item label={t("verdicts.rules")} extra={t("verdicts.rulesHint")} required>
      <Form.List name={name}>
        {(fields, { add, remove }) => (
          <div className="stack-s">
            {fields.map(({ key, name: index }) => (
              <div key={key} className="rule">
                <Form.Item name={[index, "which"]} noStyle>
                  <Select
                    aria-label={t("verdicts.which")}
                    options={[
                      { value: "all", label: t("evaluations.allRows") },
                      { value: "only", label: t("verdicts.only") },
                      { value: "except", label: t("verdicts.except") },
                    ]}
                  />
                </Form.Item>
                <Form.Item noStyle dependencies={[[...[name].flat(), index, "which"]]}>
                  {({ getFieldValue }) => (
                    <Form.Item
                      name={[index, "slice"]}
                      noStyle
                      rules={[
                        {
                          required: getFieldValue([...[name].flat(), index, "which"]) !== "all",
                          message: t("form.required"),
                        },
                      ]}
                    >
                      <Input
                        aria-label={t("dataset.slice")}
                        placeholder={t("dataset.slice")}
                        disabled={getFieldValue([...[name].flat(), index, "which"]) === "all"}
                      />
                    </Form.Item>
                  )}
                </Form.Item>
                <Form.Item name={[index, "metric"]} noStyle>
                  <Select
                    aria-label={t("verdicts.metric")}
                    options={["exact", "valid_json", "text"].map((one) => ({ value: one, label: word("metric", one) }))}
                  />
                </Form.Item>
                <Form.Item name={[index, "points"]} noStyle>
                  <NumberInput aria-label={t("verdicts.bound")} min={-100} max={100} prefix=">" />
                </Form.Item>
                <Button
                  type="text"
                  size="small"
                  icon={<DeleteOutlined aria-hidden />}
                  aria-label={t("action.delete")}
                  disabled={fields.length === 1}
                  onClick={() => remove(index)}
                />
              </div>
            ))}
            <div>
              <Button
                size="small"
                icon={<PlusOutlined aria-hidden />}
                onClick={() => add({ which: "only", metric: "exact", points: 0 })}
              >
                {t("verdicts.addRule")}
              </Button>
            </div>
          </div>
        )}
      </Form.List>
    </Form.Item>
  );
}
