import { useI18n } from "@/i18n";
import { formatNumber, formatPercent } from "@/i18n/format";
import "./interval.css";

export interface Mark {
  series: string;
  colour: string;
  value: number;
  lower: number;
  upper: number;
  count: number;
}

export interface IntervalRow {
  key: string;
  label: string;
  /** Whether it sums up the rows below it. */
  whole: boolean;
  marks: Mark[];
}

const TICKS = [0, 0.25, 0.5, 0.75, 1];

/** Shares from 0 to 1 with their 95 % intervals: one band for each row, one line in it for each series. */
export function IntervalChart({ rows }: { rows: IntervalRow[] }) {
  const { t, language } = useI18n();
  const percent = (value: number) => formatPercent(language, value);
  return (
    <div className="intervals" role="group" aria-label={t("interval.label")}>
      <div className="interval-axis" aria-hidden>
        <span />
        <div className="interval-scale">
          {TICKS.map((tick) => (
            <span key={tick} className="num" style={{ left: `${tick * 100}%` }}>
              {percent(tick)}
            </span>
          ))}
        </div>
        <span />
      </div>
      {rows.map((row) => (
        <div key={row.key} className={row.whole ? "interval-row whole" : "interval-row"}>
          <div className="interval-label">
            <strong>{row.label}</strong>
            <span className="quiet num">
              n = {formatNumber(language, Math.max(0, ...row.marks.map((mark) => mark.count)))}
            </span>
          </div>
          <div className="interval-band">
            {TICKS.map((tick) => (
              <i key={tick} className="interval-grid" style={{ left: `${tick * 100}%` }} aria-hidden />
            ))}
            {row.marks.map((mark) => (
              <div key={mark.series} className="interval-line" aria-hidden>
                <i
                  className="whisker"
                  style={{
                    left: `${mark.lower * 100}%`,
                    width: `${(mark.upper - mark.lower) * 100}%`,
                    background: mark.colour,
                  }}
                />
                <i className="dot" style={{ left: `${mark.value * 100}%`, background: mark.colour }} />
              </div>
            ))}
          </div>
          <ul className="interval-values">
            {row.marks.map((mark) => (
              <li key={mark.series} className="num">
                <span className="sr-only">{mark.series}: </span>
                <b style={{ color: mark.colour }}>{percent(mark.value)}</b>{" "}
                <span className="quiet">
                  {percent(mark.lower)} – {percent(mark.upper)}
                </span>
              </li>
            ))}
          </ul>
        </div>
      ))}
    </div>
  );
}

/** A difference with its interval about zero, and the bound that it must keep. */
export function DifferenceBar({
  difference,
  lower,
  upper,
  bound,
  passed,
}: {
  difference: number;
  lower: number;
  upper: number;
  bound: number;
  passed: boolean;
}) {
  const reach = Math.max(0.1, Math.abs(lower), Math.abs(upper), Math.abs(bound)) * 1.1;
  const at = (value: number) => `${((value + reach) / (2 * reach)) * 100}%`;
  const colour = passed ? "var(--ok)" : "var(--bad)";
  return (
    <div className="difference" aria-hidden>
      <i className="zero" />
      <i className="bound" style={{ left: at(bound) }} />
      <i
        className="whisker"
        style={{ left: at(lower), width: `${((upper - lower) / (2 * reach)) * 100}%`, background: colour }}
      />
      <i className="dot" style={{ left: at(difference), background: colour }} />
    </div>
  );
}
