import { useI18n } from "@/i18n";
import { Page } from "@/ui/Page";
import { Keys } from "./Keys";
import { ProjectSettings } from "./ProjectSettings";

export function Access() {
  const { t } = useI18n();
  return (
    <Page title={t("access.title")} lead={t("access.lead")}>
      <div className="columns">
        <Keys />
        <ProjectSettings />
      </div>
    </Page>
  );
}
