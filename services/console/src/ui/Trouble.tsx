import { Button } from "antd";
import { ApiError } from "@/api/client";
import { useI18n } from "@/i18n";
import "./trouble.css";

export interface Told {
  /** What went wrong, in the reader's language. */
  title: string;
  /** What the server said, with its facts; in English. */
  detail: string;
}

/** An error in words: by its named reason, else by its status. */
export function useTell(): (error: unknown) => Told {
  const { t, word } = useI18n();
  return (error) => {
    if (!(error instanceof ApiError))
      return { title: t("error.unknown"), detail: error instanceof Error ? error.message : "" };
    const { reason, status, detail } = error.problem;
    const byStatus = word("error.status", String(status), status >= 500 ? t("error.server") : t("error.unknown"));
    return { title: word("reason", reason, byStatus), detail };
  };
}

/** What stands in the place of something that could not be loaded or done. */
export function Trouble({ error, retry }: { error: unknown; retry?: () => void }) {
  const { t } = useI18n();
  const { title, detail } = useTell()(error);
  return (
    <div className="trouble" role="alert">
      <strong>{title}</strong>
      {detail && detail !== title && (
        <p>
          <span className="quiet">{t("error.detail")} </span>
          <span lang="en">{detail}</span>
        </p>
      )}
      {retry && (
        <Button size="small" onClick={retry}>
          {t("action.retry")}
        </Button>
      )}
    </div>
  );
}

/** Why something FAILED, as its own fields say. */
export function Failure({ reason, message }: { reason: string; message: string }) {
  const { t, word } = useI18n();
  if (!reason && !message) return null;
  return (
    <div className="trouble" role="status">
      <strong>{word("reason", reason, t("error.failed"))}</strong>
      {message && (
        <p lang="en" className="second">
          {message}
        </p>
      )}
    </div>
  );
}
