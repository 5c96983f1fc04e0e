import { Tooltip } from "antd";
import { useI18n } from "@/i18n";
import { formatAgo, formatBytes, formatCost, formatFullTime, formatNumber, formatTime } from "@/i18n/format";

/** What stands where there is nothing to say. */
export function Nothing() {
  return <span className="quiet">–</span>;
}

export function Time({ value, ago = false }: { value?: string | null; ago?: boolean }) {
  const { language } = useI18n();
  if (!value) return <Nothing />;
  return (
    <Tooltip title={formatFullTime(language, value)}>
      <time dateTime={value} className="num nowrap">
        {ago ? formatAgo(language, value) : formatTime(language, value)}
      </time>
    </Tooltip>
  );
}

export function Bytes({ value }: { value?: string | number | null }) {
  const bytes = Number(value ?? 0);
  if (!bytes) return <Nothing />;
  return <span className="num nowrap">{formatBytes(bytes)}</span>;
}

export function Num({ value, digits }: { value?: string | number | null; digits?: number }) {
  const { language } = useI18n();
  if (value === undefined || value === null || value === "") return <Nothing />;
  return <span className="num">{formatNumber(language, Number(value), digits)}</span>;
}

export function Cost({ microusd }: { microusd?: string | null }) {
  const { language } = useI18n();
  return <span className="num nowrap">{formatCost(language, Number(microusd ?? 0))}</span>;
}
