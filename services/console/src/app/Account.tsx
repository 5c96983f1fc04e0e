import { BulbOutlined, LogoutOutlined, TranslationOutlined } from "@ant-design/icons";
import { useQueryClient } from "@tanstack/react-query";
import { Button, Dropdown, Tooltip } from "antd";
import { useNavigate } from "react-router";
import { remove } from "@/api/client";
import { bare } from "@/api/names";
import { useSession } from "@/api/queries";
import { type Language, useI18n } from "@/i18n";
import { type Mode, useTheme } from "@/theme";
import { Actor } from "@/ui/Actor";

/** Who is signed in, and the reader's own settings. */
export function Account() {
  const { t, word } = useI18n();
  const session = useSession().data;
  const client = useQueryClient();
  const navigate = useNavigate();
  const signOut = async () => {
    await remove("/session");
    client.clear();
    navigate("/sign-in");
  };
  return (
    <div className="side-account">
      <div className="grow">
        <div className="ellipsis">{session && <Actor value={session.identity} />}</div>
        <div className="quiet">{session && word("role", bare(session.role))}</div>
      </div>
      <Preferences />
      <Tooltip title={t("session.signOut")}>
        <Button
          type="text"
          size="small"
          icon={<LogoutOutlined aria-hidden />}
          aria-label={t("session.signOut")}
          onClick={signOut}
        />
      </Tooltip>
    </div>
  );
}

/** Language and light or dark. */
export function Preferences() {
  const { t, language, setLanguage } = useI18n();
  const { mode, setMode } = useTheme();
  return (
    <>
      <Dropdown
        trigger={["click"]}
        menu={{
          selectable: true,
          selectedKeys: [language],
          items: [
            { key: "en-US", label: <span lang="en">English</span> },
            { key: "zh-CN", label: <span lang="zh">中文</span> },
          ],
          onClick: ({ key }) => setLanguage(key as Language),
        }}
      >
        <Button type="text" size="small" icon={<TranslationOutlined aria-hidden />} aria-label={t("shell.language")} />
      </Dropdown>
      <Dropdown
        trigger={["click"]}
        menu={{
          selectable: true,
          selectedKeys: [mode],
          items: [
            { key: "light", label: t("theme.light") },
            { key: "dark", label: t("theme.dark") },
            { key: "system", label: t("theme.system") },
          ],
          onClick: ({ key }) => setMode(key as Mode),
        }}
      >
        <Button type="text" size="small" icon={<BulbOutlined aria-hidden />} aria-label={t("shell.theme")} />
      </Dropdown>
    </>
  );
}
