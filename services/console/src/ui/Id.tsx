import { CopyOutlined } from "@ant-design/icons";
import { Button, Tooltip } from "antd";
import { Link } from "react-router";
import { kindOf, lastPart, pagePath, shortName } from "@/api/names";
import { useI18n } from "@/i18n";
import { useMessage } from "./useMessage";
import { Nothing } from "./values";

/** Something to copy: an id, a digest, a name. `shown` may be shorter than what is copied. */
export function Copyable({ value, shown }: { value: string; shown?: string }) {
  const { t } = useI18n();
  const message = useMessage();
  if (!value) return <Nothing />;
  const copy = () => navigator.clipboard.writeText(value).then(() => message.success(t("copy.done")));
  return (
    <span className="row" style={{ gap: 2, display: "inline-flex", maxWidth: "100%" }}>
      <Tooltip title={value}>
        <span className="mono ellipsis">{shown ?? value}</span>
      </Tooltip>
      <Button
        type="text"
        size="small"
        icon={<CopyOutlined aria-hidden />}
        aria-label={t("copy.action", { what: value })}
        onClick={copy}
      />
    </span>
  );
}

export function Digest({ value }: { value: string }) {
  return <Copyable value={value} shown={value.replace(/^sha256:/, "").slice(0, 12)} />;
}

/** Ids that nobody chose. */
const MADE_UP = /^(?:(chatcmpl-)?[0-9A-HJKMNP-TV-Z]{26}|batch_[0-9a-f]{32})$/;

/** A resource by what people call it, linked to its page if it has one. */
export function Ref({ name }: { name?: string }) {
  const { word } = useI18n();
  if (!name) return <Nothing />;
  const path = pagePath(name);
  const kind = word("lineageKind", kindOf(name), "");
  const single = kindOf(name) === lastPart(name) && kind;
  const text = MADE_UP.test(lastPart(name)) ? `${kind || kindOf(name)} …${name.slice(-6)}` : single || shortName(name);
  return path ? (
    <Link to={path} title={name}>
      {text}
    </Link>
  ) : (
    <span title={name}>{text}</span>
  );
}
