import { Button, Form, Select } from "antd";
import { useState } from "react";
import { patch } from "@/api/client";
import { useChange, useMay } from "@/api/queries";
import type { Project, SentOut } from "@/api/types";
import { useI18n } from "@/i18n";
import { formatNumber } from "@/i18n/format";
import { FormDrawer } from "@/ui/FormDrawer";
import { useMessage } from "@/ui/useMessage";
import { Time } from "@/ui/values";

/** Where prompts may go, and how many have left own hardware. */
export function Regions({ project, sentOut }: { project: Project; sentOut?: SentOut[] }) {
  const { t, language } = useI18n();
  const isAdmin = useMay("ADMIN");
  const [changing, setChanging] = useState(false);
  const said = project.regions.includes("*") ? t("region.anywhere") : project.regions.join(", ") || t("region.own");
  return (
    <div className="stack-s">
      <div className="row">
        <span className="grow">
          {t("region.title")}: <b>{said}</b>
        </span>
        {isAdmin && (
          <Button size="small" onClick={() => setChanging(true)}>
            {t("fallback.change")}
          </Button>
        )}
      </div>
      {sentOut?.length === 0 && <p className="quiet">{t("region.sentNone")}</p>}
      {sentOut && sentOut.length > 0 && (
        <>
          <span>{t("region.sentOut")}</span>
          <ul>
            {sentOut.map((one) => (
              <li key={`${one.upstream} ${one.region}`}>
                <span className="mono">{one.upstream}</span> · {one.region || t("region.unknown")} ·{" "}
                <span className="num">
                  {t("region.prompts", { count: formatNumber(language, Number(one.prompt_count)) })}
                </span>{" "}
                <Time value={one.last_time} />
              </li>
            ))}
          </ul>
        </>
      )}
      <RegionDrawer project={changing ? project : null} onClose={() => setChanging(false)} />
    </div>
  );
}

function RegionDrawer({ project, onClose }: { project: Project | null; onClose: () => void }) {
  const { t } = useI18n();
  const message = useMessage();
  const change = useChange(["api_gateway", "inference_gateway"], ({ regions }: { regions: string[] }) =>
    patch<Project>(`/${project?.name}`, { regions, etag: project?.etag }),
  );
  return (
    <FormDrawer<{ regions: string[] }>
      open={project !== null}
      onClose={onClose}
      title={t("region.title")}
      lead={t("region.hint")}
      submitText={t("action.save")}
      initialValues={{ regions: project?.regions ?? [] }}
      onSubmit={async (values) => {
        await change.mutateAsync(values);
        message.success(t("region.title"));
      }}
    >
      <Form.Item name="regions" label={t("traffic.region")}>
        <Select mode="tags" open={false} suffixIcon={null} tokenSeparators={[",", " "]} />
      </Form.Item>
    </FormDrawer>
  );
}
