import { Form, Input } from "antd";
import { useEffect } from "react";
import { slugify } from "@/api/names";
import { useI18n } from "@/i18n";

const SLUG = /^[a-z0-9](?:[a-z0-9.-]{0,61}[a-z0-9])?$/;

/** The last part of a new resource's name; follows the field `from` until somebody writes it himself. */
export function IdField({ name, from, label }: { name: string; from?: string; label?: string }) {
  const { t } = useI18n();
  const form = Form.useFormInstance();
  const source: unknown = Form.useWatch(from ?? "", form);
  useEffect(() => {
    if (from && typeof source === "string" && !form.isFieldTouched(name)) form.setFieldValue(name, slugify(source));
  }, [form, from, name, source]);
  return (
    <Form.Item
      name={name}
      label={label ?? t("form.id")}
      rules={[
        { required: true, message: t("form.required") },
        { pattern: SLUG, message: t("form.idRule") },
      ]}
    >
      <Input className="mono" maxLength={63} autoComplete="off" spellCheck={false} />
    </Form.Item>
  );
}
