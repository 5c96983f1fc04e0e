import { Form } from "antd";
import { useEffect } from "react";
import { post } from "@/api/client";
import { lastPart } from "@/api/names";
import { useChange } from "@/api/queries";
import type { Deployment, ScheduleWindow } from "@/api/types";
import { useI18n } from "@/i18n";
import { FormDrawer } from "@/ui/FormDrawer";
import { NumberInput } from "@/ui/NumberInput";
import { useMessage } from "@/ui/useMessage";
import { MOST_REPLICAS, useMostRule } from "./bounds";
import { ScheduleFields } from "./ScheduleFields";

const WEEK = 604_800;

interface Values {
  min_replicas: number;
  max_replicas: number;
  idle_seconds: number;
  time_zone?: string;
  windows: ScheduleWindow[];
}

/** Between which bounds the number of replicas follows the load, at which hours; with a minimum of none it may sleep. */
export function ScaleDrawer({ deployment, onClose }: { deployment: Deployment | null; onClose: () => void }) {
  const { t } = useI18n();
  const message = useMessage();
  const [form] = Form.useForm<Values>();
  const least = Form.useWatch("min_replicas", form);
  const windows: ScheduleWindow[] | undefined = Form.useWatch("windows", form);
  const maySleep = least === 0 || windows?.some((window) => window?.min_replicas === 0);
  const mostRule = useMostRule();
  const scale = useChange(
    ["inference_gateway", "gpu_scheduler"],
    ({ name, etag, values }: { name: string; etag?: string; values: Values }) =>
      post<Deployment>(`/${name}:scale`, {
        scale: {
          min_replicas: values.min_replicas,
          max_replicas: values.max_replicas,
          idle_time: `${values.idle_seconds}s`,
          schedule: values.windows?.length ? { time_zone: values.time_zone, windows: values.windows } : undefined,
        },
        etag,
      }),
  );
  useEffect(() => {
    if (deployment) form.setFieldsValue(valuesOf(deployment));
  }, [deployment, form]);
  return (
    <FormDrawer<Values>
      open={deployment !== null}
      onClose={onClose}
      form={form}
      title={t("deployments.scaleTitle", { what: deployment ? lastPart(deployment.name) : "" })}
      lead={t("deployments.scaleLead")}
      submitText={t("deployments.scale")}
      onSubmit={async (values) => {
        if (!deployment) return;
        const scaled = await scale.mutateAsync({ name: deployment.name, etag: deployment.etag, values });
        if (scaled.guarantee_warning) message.warning({ content: t("deployments.scaledBeyondQuota"), duration: 10 });
        else message.success(t("deployments.scaled"));
      }}
    >
      <div className="form-grid">
        <Form.Item name="min_replicas" required label={t("deployments.minReplicas")}>
          <NumberInput min={0} max={MOST_REPLICAS} precision={0} />
        </Form.Item>
        <Form.Item
          name="max_replicas"
          required
          label={t("deployments.maxReplicas")}
          dependencies={["min_replicas"]}
          rules={[mostRule("min_replicas")]}
        >
          <NumberInput min={1} max={MOST_REPLICAS} precision={0} />
        </Form.Item>
      </div>
      <Form.Item
        name="idle_seconds"
        required
        hidden={!maySleep}
        label={t("deployments.idleSeconds")}
        tooltip={t("deployments.idleHint")}
      >
        <NumberInput min={1} max={WEEK} precision={0} />
      </Form.Item>
      <ScheduleFields />
    </FormDrawer>
  );
}

function valuesOf({ scale }: Deployment): Values {
  return {
    min_replicas: scale?.min_replicas ?? 1,
    max_replicas: scale?.max_replicas ?? 1,
    idle_seconds: Number.parseFloat(scale?.idle_time ?? "300s"),
    time_zone: scale?.schedule?.time_zone || Intl.DateTimeFormat().resolvedOptions().timeZone,
    windows: scale?.schedule?.windows ?? [],
  };
}
