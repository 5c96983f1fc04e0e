import { Form, Input, Select, Switch } from "antd";
import type { TrafficPolicy as Policy } from "@/api/types";
import { useI18n } from "@/i18n";
import { FormDrawer } from "@/ui/FormDrawer";
import { NumberInput } from "@/ui/NumberInput";

interface Props {
  policy: Policy;
  open: boolean;
  onSave: (changes: Partial<Policy>) => Promise<unknown>;
  onClose: () => void;
}

interface HookValues {
  url?: string;
  region?: string;
  seconds: number;
  fails_open: boolean;
  when: "before" | "after" | "both";
}

/** A program that is asked about prompts and answers; no address means none. */
export function HookDrawer({ policy, open, onSave, onClose }: Props) {
  const { t } = useI18n();
  const hook = policy.hook;
  const when = hook?.before && hook.after ? "both" : hook?.after ? "after" : "before";
  return (
    <FormDrawer<HookValues>
      open={open}
      onClose={onClose}
      title={t("guard.hook")}
      lead={t("guard.hookHint")}
      submitText={t("action.save")}
      initialValues={{
        url: hook?.url,
        region: hook?.region,
        seconds: Number.parseFloat(hook?.timeout ?? "1"),
        fails_open: hook?.fails_open ?? false,
        when,
      }}
      onSubmit={({ url, region, seconds, fails_open, when }) =>
        onSave({
          hook: {
            url: url ?? "",
            region: region ?? "",
            timeout: `${seconds}s`,
            fails_open,
            before: when !== "after",
            after: when !== "before",
          },
        })
      }
    >
      <Form.Item name="url" label={t("guard.hookUrl")}>
        <Input placeholder="https://…" />
      </Form.Item>
      <Form.Item name="region" label={t("guard.hookRegion")} extra={t("guard.hookRegionHint")}>
        <Input placeholder="eu" maxLength={63} />
      </Form.Item>
      <Form.Item name="when" label={t("guard.hookWhen")}>
        <Select
          options={[
            { value: "before", label: t("guard.before") },
            { value: "after", label: t("guard.after") },
            { value: "both", label: t("guard.both") },
          ]}
        />
      </Form.Item>
      <Form.Item name="seconds" label={t("guard.hookSeconds")}>
        <NumberInput min={0.01} max={30} />
      </Form.Item>
      <Form.Item name="fails_open" label={t("guard.failsOpen")} extra={t("guard.failsHint")} valuePropName="checked">
        <Switch />
      </Form.Item>
    </FormDrawer>
  );
}

interface CacheValues {
  mode: NonNullable<Policy["cache"]>["mode"];
  seconds: number;
  deployments: string[];
  billed: boolean;
}

/** Which answers are given again, and for how long. */
export function CacheDrawer({ policy, open, onSave, onClose }: Props) {
  const { t, word } = useI18n();
  const cache = policy.cache;
  return (
    <FormDrawer<CacheValues>
      open={open}
      onClose={onClose}
      title={t("guard.cache")}
      lead={t("guard.cacheHint")}
      submitText={t("action.save")}
      initialValues={{
        mode: cache?.mode ?? "MODE_OFF",
        seconds: Number.parseFloat(cache?.ttl ?? "3600"),
        deployments: cache?.deployments ?? [],
        billed: cache?.billed ?? false,
      }}
      onSubmit={({ seconds, ...values }) => onSave({ cache: { ...values, ttl: `${seconds}s` } })}
    >
      <Form.Item name="mode" label={t("guard.cacheMode")}>
        <Select
          options={["OFF", "ON_REQUEST", "ALWAYS"].map((mode) => ({
            value: `MODE_${mode}`,
            label: word("cacheMode", mode),
          }))}
        />
      </Form.Item>
      <Form.Item name="seconds" label={t("guard.cacheSeconds")}>
        <NumberInput min={1} max={2_592_000} precision={0} />
      </Form.Item>
      <Form.Item name="deployments" label={t("guard.cacheFor")}>
        <Select mode="tags" open={false} suffixIcon={null} tokenSeparators={[",", " "]} />
      </Form.Item>
      <Form.Item name="billed" label={t("guard.cacheBilled")} valuePropName="checked">
        <Switch />
      </Form.Item>
    </FormDrawer>
  );
}
