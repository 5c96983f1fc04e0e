import { useEffect } from "react";
import { useI18n } from "@/i18n";

export function useTitle(title: string): void {
  const { t } = useI18n();
  const app = t("app.name");
  useEffect(() => {
    document.title = `${title} · ${app}`;
  }, [title, app]);
}
