import { PlusOutlined } from "@ant-design/icons";
import { Button } from "antd";
import { useState } from "react";
import { useMay } from "@/api/queries";
import { useI18n } from "@/i18n";
import { Page } from "@/ui/Page";
import { Keys } from "./Keys";
import { LicencePolicy } from "./LicencePolicy";
import { ProjectSettings } from "./ProjectSettings";
import { TrafficPolicy } from "./TrafficPolicy";

export function Access() {
  const { t } = useI18n();
  const isAdmin = useMay("ADMIN");
  const [creating, setCreating] = useState(false);
  const add = isAdmin && (
    <Button type="primary" icon={<PlusOutlined aria-hidden />} onClick={() => setCreating(true)}>
      {t("keys.new")}
    </Button>
  );
  return (
    <Page title={t("access.title")} lead={t("access.lead")} actions={add}>
      <div className="columns">
        <Keys creating={creating} onClose={() => setCreating(false)} />
        <div className="stack">
          <ProjectSettings />
          <TrafficPolicy />
          <LicencePolicy />
        </div>
      </div>
    </Page>
  );
}
