import { SearchOutlined } from "@ant-design/icons";
import { Input } from "antd";
import { useEffect, useState } from "react";
import { useI18n } from "@/i18n";

/** Milliseconds without a key after which the server is asked. */
const PAUSE = 250;

/** Asks the server when typing pauses; "/" goes to it from anywhere on the page. */
export function Search({ value, onChange }: { value: string; onChange: (value: string) => void }) {
  const { t } = useI18n();
  const [typed, setTyped] = useState(value);

  useEffect(() => {
    if (typed === value) return;
    const timer = window.setTimeout(() => onChange(typed), PAUSE);
    return () => window.clearTimeout(timer);
  }, [typed, value, onChange]);

  return (
    <Input
      data-search
      allowClear
      className="table-search"
      prefix={<SearchOutlined aria-hidden className="quiet" />}
      suffix={typed ? undefined : <kbd aria-hidden>/</kbd>}
      placeholder={t("table.search")}
      aria-label={t("table.search")}
      value={typed}
      onChange={(event) => setTyped(event.target.value)}
    />
  );
}

/** The address with one parameter set, or taken out when it is empty. */
export function withParam(address: URLSearchParams, name: string, value: string): URLSearchParams {
  if (value) address.set(name, value);
  else address.delete(name);
  return address;
}
