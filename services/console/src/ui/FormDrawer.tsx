import { QuestionCircleOutlined } from "@ant-design/icons";
import { Button, Drawer, Form, type FormInstance } from "antd";
import { type ReactNode, useEffect, useEffectEvent, useState } from "react";
import { useI18n } from "@/i18n";
import { Trouble } from "./Trouble";
import "./form.css";

/** Ant Design's own icon is read aloud by its English name. */
const HINT = { icon: <QuestionCircleOutlined aria-hidden /> };

interface Props<Values> {
  open: boolean;
  onClose: () => void;
  title: string;
  lead?: string;
  submitText: string;
  /** Rejects with what the server said; the drawer shows it and stays open. */
  onSubmit: (values: Values) => Promise<unknown>;
  initialValues?: object;
  form?: FormInstance<Values>;
  size?: number;
  /** Left of the buttons, for example an estimate. */
  note?: ReactNode;
  /** While something that must come first is under way. */
  disabled?: boolean;
  children: ReactNode;
}

export function FormDrawer<Values extends object>(props: Props<Values>) {
  const { t } = useI18n();
  const [own] = Form.useForm<Values>();
  const form = props.form ?? own;
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState<unknown>(null);
  // The form outlives what the drawer shows: without this it would begin with what it held when it was closed.
  const begin = useEffectEvent(() => {
    if (props.initialValues) form.setFieldsValue(props.initialValues as Parameters<typeof form.setFieldsValue>[0]);
  });
  useEffect(() => {
    if (props.open) begin();
  }, [props.open]);
  const submit = async (values: Values) => {
    setBusy(true);
    setError(null);
    try {
      await props.onSubmit(values);
      props.onClose();
    } catch (problem) {
      setError(problem);
    } finally {
      setBusy(false);
    }
  };

  return (
    <Drawer
      open={props.open}
      onClose={props.onClose}
      title={props.title}
      size={props.size ?? 520}
      destroyOnHidden
      afterOpenChange={(open) => !open && setError(null)}
      footer={
        <div className="row">
          <div className="grow second">{props.note}</div>
          <Button onClick={props.onClose}>{t("action.cancel")}</Button>
          <Button type="primary" loading={busy} disabled={props.disabled} onClick={() => form.submit()}>
            {props.submitText}
          </Button>
        </div>
      }
    >
      {props.lead && <p className="second form-lead">{props.lead}</p>}
      <Form<Values>
        form={form}
        layout="vertical"
        preserve={false}
        requiredMark={(label, { required }) => <Label text={label} required={required} />}
        tooltip={HINT}
        initialValues={props.initialValues}
        onFinish={submit}
        scrollToFirstError={{ focus: true }}
      >
        {props.children}
        {/* Enter in a field submits, as in any form. */}
        <button type="submit" hidden tabIndex={-1} aria-hidden />
      </Form>
      {error !== null && <Trouble error={error} />}
    </Drawer>
  );
}

/** What may be left out says so; what is needed is the rule. */
function Label({ text, required }: { text: ReactNode; required: boolean }) {
  const { t } = useI18n();
  return (
    <span>
      {text} {!required && <span className="quiet">· {t("form.optional")}</span>}
    </span>
  );
}

/** Fields that belong together, closed until asked for. */
export function More({ title, children }: { title: string; children: ReactNode }) {
  return (
    <details className="more">
      <summary>{title}</summary>
      <div className="more-body">{children}</div>
    </details>
  );
}
