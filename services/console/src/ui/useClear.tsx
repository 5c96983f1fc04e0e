import { CloseCircleFilled } from "@ant-design/icons";
import { useI18n } from "@/i18n";

/** `allowClear` of a choice: Ant Design names the button that takes it back in English whatever the page speaks. */
export function useClear() {
  const { t } = useI18n();
  return { clearIcon: <CloseCircleFilled aria-hidden />, label: t("action.clear") };
}
