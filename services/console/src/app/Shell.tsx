import { MenuOutlined } from "@ant-design/icons";
import { Button, Drawer } from "antd";
import { useEffect, useState } from "react";
import { Outlet, useLocation } from "react-router";
import { useLiveRefresh } from "@/api/live";
import { useProject } from "@/api/queries";
import { useI18n } from "@/i18n";
import { rememberProject } from "./Gate";
import { Sidebar } from "./Sidebar";
import "./shell.css";

/** The frame of every page: what there is on the left, what is looked at on the right. */
export function Shell() {
  const { t } = useI18n();
  const project = useProject();
  const { pathname } = useLocation();
  const [menuOpen, setMenuOpen] = useState(false);
  useLiveRefresh();
  useSlashKey();
  useEffect(() => rememberProject(project), [project]);
  // biome-ignore lint/correctness/useExhaustiveDependencies: the menu closes whenever another page opens
  useEffect(() => setMenuOpen(false), [pathname]);

  return (
    <div className="shell">
      <a href="#main" className="skip-link">
        {t("shell.skip")}
      </a>
      <div className="shell-bar">
        <Button
          type="text"
          icon={<MenuOutlined aria-hidden />}
          aria-label={t("shell.menu")}
          onClick={() => setMenuOpen(true)}
        />
        <strong>{t("app.name")}</strong>
      </div>
      <aside className="shell-side">
        <Sidebar />
      </aside>
      <Drawer
        open={menuOpen}
        placement="left"
        size={248}
        onClose={() => setMenuOpen(false)}
        closable={false}
        styles={{ body: { padding: 0 } }}
      >
        <Sidebar />
      </Drawer>
      <main id="main" className="shell-main" tabIndex={-1}>
        <Outlet />
      </main>
    </div>
  );
}

/** "/" goes to the search of the page, unless something is being typed. */
function useSlashKey(): void {
  useEffect(() => {
    const listen = (event: KeyboardEvent) => {
      const typing = event.target instanceof HTMLElement && event.target.closest("input, textarea, [contenteditable]");
      if (event.key !== "/" || typing || event.metaKey || event.ctrlKey || event.altKey) return;
      const search = document.querySelector<HTMLInputElement>("input[data-search]");
      if (!search) return;
      event.preventDefault();
      search.focus();
    };
    window.addEventListener("keydown", listen);
    return () => window.removeEventListener("keydown", listen);
  }, []);
}
