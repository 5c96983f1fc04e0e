import type { FormInstance } from "antd";
import { useI18n } from "@/i18n";

export const MOST_REPLICAS = 64;

/** Of a field that may not be below another. */
export function useMostRule() {
  const { t } = useI18n();
  return (least: string | (string | number)[]) =>
    ({ getFieldValue }: Pick<FormInstance, "getFieldValue">) => ({
      validator: async (_: unknown, most: number | null) => {
        if (most !== null && most < getFieldValue(least)) throw new Error(t("deployments.maxRule"));
      },
    });
}
