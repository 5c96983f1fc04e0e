import { Button, Form, Select } from "antd";
import { useState } from "react";
import { patch } from "@/api/client";
import { lastPart } from "@/api/names";
import { useChange, useList, useMay, useProject } from "@/api/queries";
import type { Deployment } from "@/api/types";
import { useI18n } from "@/i18n";
import { durationSeconds, formatDuration } from "@/i18n/format";
import { FormDrawer } from "@/ui/FormDrawer";
import { NumberInput } from "@/ui/NumberInput";
import { useMessage } from "@/ui/useMessage";

const MOST = 5;
const LONGEST_SECONDS = 600;

/** Which deployments answer where this one cannot. */
export function FallbackChain({ deployment }: { deployment: Deployment }) {
  const { t, language } = useI18n();
  const mayWrite = useMay("ENGINEER");
  const [changing, setChanging] = useState(false);
  const after = durationSeconds(deployment.fallback_after) ?? 0;
  return (
    <div className="stack-s">
      <div className="row">
        <p className="grow quiet">{t("fallback.lead")}</p>
        {mayWrite && (
          <Button size="small" onClick={() => setChanging(true)}>
            {t("fallback.change")}
          </Button>
        )}
      </div>
      {deployment.fallbacks.length ? (
        <ol>
          {deployment.fallbacks.map((name) => (
            <li key={name} className="mono">
              {name}
            </li>
          ))}
        </ol>
      ) : (
        <p>{t("fallback.none")}</p>
      )}
      {after > 0 && <p className="quiet">{t("fallback.patience", { time: formatDuration(language, after) })}</p>}
      <FallbackDrawer deployment={changing ? deployment : null} onClose={() => setChanging(false)} />
    </div>
  );
}

interface Values {
  fallbacks: string[];
  after: number;
}

function FallbackDrawer({ deployment, onClose }: { deployment: Deployment | null; onClose: () => void }) {
  const { t } = useI18n();
  const message = useMessage();
  const project = useProject();
  const list = useList<"deployments", Deployment>(`/projects/${project}/deployments`, { page_size: 200 });
  const options = (list.data?.deployments ?? [])
    .filter((one) => one.name !== deployment?.name)
    .map((one) => ({ value: lastPart(one.name), label: one.display_name || lastPart(one.name) }));
  const change = useChange(["inference_gateway"], ({ fallbacks, after }: Values) =>
    patch<Deployment>(`/${deployment?.name}`, { fallbacks, fallback_after: `${after}s`, etag: deployment?.etag }),
  );
  return (
    <FormDrawer<Values>
      open={deployment !== null}
      onClose={onClose}
      title={t("fallback.changeTitle", { what: deployment ? lastPart(deployment.name) : "" })}
      lead={t("fallback.lead")}
      submitText={t("action.save")}
      initialValues={{
        fallbacks: deployment?.fallbacks ?? [],
        after: durationSeconds(deployment?.fallback_after) ?? 0,
      }}
      onSubmit={async (values) => {
        await change.mutateAsync(values);
        message.success(t("fallback.saved"));
      }}
    >
      <Form.Item name="fallbacks" label={t("fallback.order")}>
        <Select mode="multiple" maxCount={MOST} options={options} loading={list.isPending} />
      </Form.Item>
      <Form.Item name="after" required label={t("fallback.after")} extra={t("fallback.afterHint")}>
        <NumberInput min={0} max={LONGEST_SECONDS} />
      </Form.Item>
    </FormDrawer>
  );
}
