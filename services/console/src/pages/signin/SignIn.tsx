import { useMutation, useQueryClient } from "@tanstack/react-query";
import { Button, Form, Input } from "antd";
import { useLocation, useNavigate } from "react-router";
import { post } from "@/api/client";
import { SESSION_KEY } from "@/api/queries";
import type { Session } from "@/api/types";
import { Preferences } from "@/app/Account";
import { Logo } from "@/app/Logo";
import { useI18n } from "@/i18n";
import { Trouble } from "@/ui/Trouble";
import { useTitle } from "@/ui/useTitle";
import "./signin.css";

/** The door: a key is shown once, the server answers with a cookie that no script can read. */
export function SignIn() {
  const { t } = useI18n();
  useTitle(t("session.signIn"));
  const client = useQueryClient();
  const navigate = useNavigate();
  const { state } = useLocation() as { state: { from?: string } | null };
  const signIn = useMutation({
    mutationFn: (key: string) => post<Session>("/session", { key }),
    onSuccess: (session) => {
      client.setQueryData(SESSION_KEY, session);
      navigate(state?.from ?? "/", { replace: true });
    },
  });

  return (
    <main className="door">
      <div className="door-card">
        <div className="door-brand">
          <Logo size={34} />
          <h1>{t("app.name")}</h1>
          <span className="grow" />
          <Preferences />
        </div>
        <p className="second">{t("session.lead")}</p>
        <Form<{ key: string }> layout="vertical" requiredMark={false} onFinish={({ key }) => signIn.mutate(key.trim())}>
          <Form.Item
            name="key"
            label={t("session.key")}
            extra={t("session.keyHint")}
            rules={[{ required: true, message: t("session.keyMissing") }]}
          >
            <Input.Password autoFocus autoComplete="current-password" size="large" className="mono" />
          </Form.Item>
          {signIn.isError && (
            <div className="door-trouble">
              <Trouble error={signIn.error} />
            </div>
          )}
          <Button type="primary" htmlType="submit" size="large" block loading={signIn.isPending}>
            {t("session.signIn")}
          </Button>
        </Form>
      </div>
    </main>
  );
}
