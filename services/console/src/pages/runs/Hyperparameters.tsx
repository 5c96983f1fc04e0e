import { Form, Input, Select, Switch } from "antd";
import type { Hyperparameters, Method } from "@/api/types";
import { useI18n } from "@/i18n";
import { NumberInput } from "@/ui/NumberInput";
import { Facts } from "@/ui/Page";
import { flat, type Setting, useSettingNames, useSettings } from "./settings";

/** Those that people change first, in this order. */
const MAIN = ["epochs", "learning_rate", "batch_size", "lora_rank", "max_length", "beta"];

interface Props {
  method: Method | undefined;
  /** What is set already; of the common settings only these are shown. */
  of: Hyperparameters;
  /** The few that people change first, or all the others. */
  main: boolean;
  under: string[];
}

/** Inputs for what the trainers say can be set of a method. */
export function HyperparameterFields({ method, of, main, under }: Props) {
  const { word } = useI18n();
  const given = flat(of);
  const shown = useSettings(method).filter(({ path: [first = "", second] }) =>
    main ? !second && MAIN.includes(first) && first in given : second || (!MAIN.includes(first) && first in given),
  );
  const place = ({ path }: Setting) => MAIN.indexOf(path[0] ?? "");
  const sorted = main ? [...shown].sort((a, b) => place(a) - place(b)) : shown;
  return (
    <div className="form-grid">
      {sorted.map((one) => (
        <Form.Item
          key={one.path.join(".")}
          name={[...under, ...one.path]}
          label={one.title}
          tooltip={one.description}
          valuePropName={one.type === "boolean" ? "checked" : "value"}
          rules={[{ required: isNeeded(one) && (one.path.at(-1) ?? "") in given, message: word("form", "required") }]}
        >
          {field(one)}
        </Form.Item>
      ))}
    </div>
  );
}

/** A list or a text may be empty. */
function isNeeded(one: Setting): boolean {
  return one.type !== "array" && (one.type !== "string" || one.enum !== undefined);
}

function field(one: Setting) {
  if (one.type === "boolean") return <Switch />;
  if (one.type === "array") {
    return <Select mode="multiple" options={one.items?.enum?.map((value) => ({ value, label: value }))} />;
  }
  if (one.type === "string" && !one.enum) return <Input.TextArea rows={2} className="mono" />;
  if (one.enum) return <Select options={one.enum.map((value) => ({ value, label: value }))} />;
  return (
    <NumberInput
      min={one.minimum ?? one.exclusiveMinimum}
      max={one.maximum ?? one.exclusiveMaximum}
      precision={one.type === "integer" ? 0 : undefined}
    />
  );
}

export function HyperparameterFacts({ values }: { values: Hyperparameters }) {
  const { t, word } = useI18n();
  const title = useSettingNames();
  return (
    <details className="more" style={{ marginTop: 14, marginBottom: 0 }}>
      <summary>{t("run.hyperparameters")}</summary>
      <div className="more-body">
        <Facts
          list
          rows={Object.entries(flat(values)).map(([name, value]) => [
            title(name),
            <span key={name} className="num">
              {typeof value === "boolean" ? word("yesNo", String(value)) : String(value)}
            </span>,
          ])}
        />
      </div>
    </details>
  );
}
