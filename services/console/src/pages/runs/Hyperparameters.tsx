import { Form, Switch } from "antd";
import type { Hyperparameters } from "@/api/types";
import { useI18n } from "@/i18n";
import { NumberInput } from "@/ui/NumberInput";
import { Facts } from "@/ui/Page";

type Name = keyof Hyperparameters;

/** Bounds of what the form takes; the scheduler checks again and knows the method. */
const NUMBERS: Partial<Record<Name, { min: number; max?: number; step?: number; whole?: boolean }>> = {
  epochs: { min: 0.1, max: 100, step: 0.5 },
  max_steps: { min: 0, whole: true },
  learning_rate: { min: 0, max: 1, step: 0.0001 },
  batch_size: { min: 1, max: 512, whole: true },
  gradient_accumulation_steps: { min: 1, max: 512, whole: true },
  lora_rank: { min: 0, max: 512, whole: true },
  lora_alpha: { min: 1, max: 1024, whole: true },
  lora_dropout: { min: 0, max: 0.9, step: 0.05 },
  max_length: { min: 8, max: 131_072, whole: true },
  checkpoint_every: { min: 1, whole: true },
  warmup_ratio: { min: 0, max: 1, step: 0.05 },
  weight_decay: { min: 0, max: 1, step: 0.01 },
  beta: { min: 0, max: 10, step: 0.05 },
  max_new_tokens: { min: 1, max: 4096, whole: true },
  num_generations: { min: 2, max: 64, whole: true },
};
const MAIN: readonly Name[] = ["epochs", "learning_rate", "batch_size", "lora_rank", "max_length", "beta"];

/** Inputs for what the recipe sets: the few that people change first, or all the others. */
export function HyperparameterFields({ of, main, under }: { of: Hyperparameters; main: boolean; under: string[] }) {
  const { word } = useI18n();
  const names = (Object.keys(of) as Name[]).filter((name) => of[name] != null && MAIN.includes(name) === main);
  const sorted = main ? MAIN.filter((name) => names.includes(name)) : names;
  return (
    <div className="form-grid">
      {sorted.map((name) => {
        const bounds = NUMBERS[name];
        return (
          <Form.Item
            key={name}
            name={[...under, name]}
            label={word("hyper", name)}
            tooltip={word("hyperHint", name, "")}
            valuePropName={bounds ? "value" : "checked"}
            rules={bounds && [{ required: true, message: word("form", "required") }]}
          >
            {bounds ? (
              <NumberInput
                min={bounds.min}
                max={bounds.max}
                step={bounds.step}
                precision={bounds.whole ? 0 : undefined}
              />
            ) : (
              <Switch />
            )}
          </Form.Item>
        );
      })}
    </div>
  );
}

export function HyperparameterFacts({ values }: { values: Hyperparameters }) {
  const { t, word } = useI18n();
  const set = (Object.entries(values) as [Name, number | boolean | null][]).filter(([, value]) => value != null);
  return (
    <details className="more" style={{ marginTop: 14, marginBottom: 0 }}>
      <summary>{t("run.hyperparameters")}</summary>
      <div className="more-body">
        <Facts
          list
          rows={set.map(([name, value]) => [
            word("hyper", name),
            <span key={name} className="num">
              {typeof value === "boolean" ? word("yesNo", String(value)) : String(value)}
            </span>,
          ])}
        />
      </div>
    </details>
  );
}
