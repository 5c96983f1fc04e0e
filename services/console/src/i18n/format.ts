import type { Language } from ".";

const MINUTE = 60;
const HOUR = 3600;
const DAY = 86_400;

const cache = new Map<string, Intl.DateTimeFormat | Intl.NumberFormat | Intl.RelativeTimeFormat>();

/** Formatters are slow to make and a table needs hundreds: one of each kind is kept. */
function cached<T extends Intl.DateTimeFormat | Intl.NumberFormat | Intl.RelativeTimeFormat>(
  key: string,
  make: () => T,
): T {
  const known = cache.get(key) as T | undefined;
  if (known) return known;
  const made = make();
  cache.set(key, made);
  return made;
}

/** Day, time and zone; the year only where it is not this one. */
export function formatTime(language: Language, iso: string, now = new Date()): string {
  const time = new Date(iso);
  const sameYear = time.getFullYear() === now.getFullYear();
  const day = cached(`day ${language} ${sameYear}`, () => {
    const year = sameYear ? undefined : ("numeric" as const);
    return new Intl.DateTimeFormat(language, { year, month: "short", day: "numeric" });
  });
  // Chinese would put the zone between day and time, where it reads as part of neither.
  const clock = cached("clock", () => {
    const options = { hour: "2-digit", minute: "2-digit", hourCycle: "h23", timeZoneName: "short" } as const;
    return new Intl.DateTimeFormat("en-US", options);
  });
  return `${day.format(time)} ${clock.format(time)}`;
}

/** Everything there is to know about a moment, for a tooltip. */
export function formatFullTime(language: Language, iso: string): string {
  const format = cached(
    `full ${language}`,
    () => new Intl.DateTimeFormat(language, { dateStyle: "full", timeStyle: "long" }),
  );
  return format.format(new Date(iso));
}

/** "3 minutes ago". */
export function formatAgo(language: Language, iso: string, now = Date.now()): string {
  const seconds = (new Date(iso).getTime() - now) / 1000;
  const format = cached(`ago ${language}`, () => new Intl.RelativeTimeFormat(language, { numeric: "auto" }));
  const size = Math.abs(seconds);
  if (size < MINUTE) return format.format(Math.round(seconds), "second");
  if (size < HOUR) return format.format(Math.round(seconds / MINUTE), "minute");
  if (size < DAY) return format.format(Math.round(seconds / HOUR), "hour");
  return format.format(Math.round(seconds / DAY), "day");
}

export function formatNumber(language: Language, value: number, digits = 0): string {
  const format = cached(
    `number ${language} ${digits}`,
    () => new Intl.NumberFormat(language, { maximumFractionDigits: digits }),
  );
  return format.format(value);
}

const BYTE_UNITS = ["B", "kB", "MB", "GB", "TB"] as const;

/** Decimal units, three significant digits: "138 MB". */
export function formatBytes(bytes: number): string {
  const exponent = bytes < 1000 ? 0 : Math.min(Math.floor(Math.log10(bytes) / 3), BYTE_UNITS.length - 1);
  const value = bytes / 1000 ** exponent;
  return `${exponent === 0 ? value : Number(value.toPrecision(3))} ${BYTE_UNITS[exponent]}`;
}

const UNITS: Record<Language, { h: string; min: string; s: string; ms: string }> = {
  "en-US": { h: "h", min: "min", s: "s", ms: "ms" },
  "zh-CN": { h: "小时", min: "分", s: "秒", ms: "毫秒" },
};

/** "1 h 04 min", "2 min 05 s", "12 s", "340 ms" from seconds. */
export function formatDuration(language: Language, seconds: number): string {
  const unit = UNITS[language];
  if (seconds === 0) return `0 ${unit.s}`;
  if (seconds < 1) return `${Math.round(seconds * 1000)} ${unit.ms}`;
  if (seconds < MINUTE) return `${Number(seconds.toPrecision(2))} ${unit.s}`;
  const whole = Math.round(seconds);
  const pad = (value: number) => String(value).padStart(2, "0");
  if (whole < HOUR) return `${Math.floor(whole / MINUTE)} ${unit.min} ${pad(whole % MINUTE)} ${unit.s}`;
  return `${Math.floor(whole / HOUR)} ${unit.h} ${pad(Math.floor((whole % HOUR) / MINUTE))} ${unit.min}`;
}

/** A latency, in milliseconds however long it is, so that a column of them can be compared. */
export function formatMs(language: Language, milliseconds: number): string {
  return `${formatNumber(language, milliseconds)} ${UNITS[language].ms}`;
}

/** Millionths of a US dollar as dollars, with enough digits that little is not nothing. */
export function formatCost(language: Language, microusd: number): string {
  const dollars = microusd / 1e6;
  const digits = dollars === 0 || dollars >= 1 ? 2 : Math.min(6, 1 - Math.floor(Math.log10(dollars)));
  const format = cached(`cost ${language} ${digits}`, () => {
    return new Intl.NumberFormat(language, {
      style: "currency",
      currency: "USD",
      currencyDisplay: "narrowSymbol",
      minimumFractionDigits: 2,
      maximumFractionDigits: Math.max(2, digits),
    });
  });
  return format.format(dollars);
}

/** A share of 0 to 1 as percent with one decimal at most. */
export function formatPercent(language: Language, share: number, digits = 1): string {
  const format = cached(
    `percent ${language} ${digits}`,
    () => new Intl.NumberFormat(language, { style: "percent", maximumFractionDigits: digits }),
  );
  return format.format(share);
}

/** A difference of two shares in percentage points, with its sign. */
export function formatPoints(language: Language, difference: number): string {
  const format = cached(
    `points ${language}`,
    () => new Intl.NumberFormat(language, { signDisplay: "exceptZero", maximumFractionDigits: 1 }),
  );
  return format.format(difference * 100);
}

/** The name of a BCP 47 tag in the reader's language; the tag itself where it has none. */
export function languageName(language: Language, tag: string): string {
  try {
    return new Intl.DisplayNames(language, { type: "language" }).of(tag) ?? tag;
  } catch {
    return tag;
  }
}

/** Seconds of a proto3 JSON duration such as "83.5s". */
export function durationSeconds(duration: string | null | undefined): number | undefined {
  return duration ? Number.parseFloat(duration) : undefined;
}
