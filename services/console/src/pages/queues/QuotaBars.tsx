import { lastPart } from "@/api/names";
import { useI18n } from "@/i18n";
import { formatBytes, formatNumber } from "@/i18n/format";
import type { Bar, Kind } from "./quotas";

/** Amounts as bars of one scale in a tree: what is used of its own, what beyond it is borrowed, what of it is lent. */
export function QuotaBars({ bars }: { bars: Bar[] }) {
  return (
    <div className="quota-bars">
      {bars.map((bar) => (
        <QuotaBar key={`${bar.flavor} ${bar.kind}`} bar={bar} />
      ))}
    </div>
  );
}

function QuotaBar({ bar }: { bar: Bar }) {
  const { t } = useI18n();
  const amount = useAmount(bar.kind);
  const label = `${lastPart(bar.flavor)} · ${t(`quotas.kind.${bar.kind}`)}`;
  const text = [
    t("quotas.used", { used: amount(bar.used), nominal: amount(bar.nominal) }),
    bar.borrowed > 0 && t("quotas.plusBorrowed", { n: amount(bar.borrowed) }),
    bar.lent > 0 && t("quotas.plusLent", { n: amount(bar.lent) }),
  ]
    .filter(Boolean)
    .join(" · ");
  const own = bar.used - bar.borrowed;
  const parts = [
    ["own", own],
    ["lent", bar.lent],
    ["free", Math.max(0, bar.nominal - own - bar.lent)],
    ["borrowed", bar.borrowed],
  ] as const;
  return (
    <div className="quota-bar">
      <span className="quiet">
        <span translate="no">{lastPart(bar.flavor)}</span> · {t(`quotas.kind.${bar.kind}`)}
      </span>
      <div
        className="quota-track"
        role="meter"
        aria-label={label}
        aria-valuemin={0}
        aria-valuemax={bar.of}
        aria-valuenow={bar.used}
        aria-valuetext={text}
      >
        {parts.map(([part, size]) =>
          size > 0 ? <i key={part} className={part} style={{ width: `${(100 * size) / bar.of}%` }} /> : null,
        )}
      </div>
      <span className="num">{text}</span>
    </div>
  );
}

/** Writes an amount of one kind as people read it. */
export function useAmount(kind: Kind): (value: number) => string {
  const { language } = useI18n();
  if (kind === "memory_bytes") return formatBytes;
  return (value) => formatNumber(language, kind === "cpu_milli" ? value / 1000 : value, 2);
}
