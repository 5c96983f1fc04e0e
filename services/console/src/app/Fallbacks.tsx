import { Button } from "antd";
import { Link, useRouteError } from "react-router";
import { useI18n } from "@/i18n";
import { Empty } from "@/ui/Empty";
import { Trouble } from "@/ui/Trouble";

export function NotFound() {
  const { t } = useI18n();
  return (
    <div className="page">
      <Empty title={t("notFound.title")} hint={t("notFound.hint")} action={<Link to="/">{t("notFound.home")}</Link>} />
    </div>
  );
}

/** An error of the console itself; the rest of the application stays usable. */
export function Crashed() {
  const { t } = useI18n();
  const error = useRouteError();
  return (
    <div className="page">
      <Trouble error={error} />
      <div>
        <Button onClick={() => window.location.reload()}>{t("action.reload")}</Button>
      </div>
    </div>
  );
}
