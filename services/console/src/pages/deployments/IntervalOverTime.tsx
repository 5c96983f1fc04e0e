import type { Experiment } from "@/api/types";
import { useI18n } from "@/i18n";
import { formatNumber, formatPoints } from "@/i18n/format";

const WIDTH = 560;
const HEIGHT = 140;

/** How the difference and its interval narrowed, with zero and the effect that matters on both sides of it. */
export function IntervalOverTime({ of }: { of: Experiment }) {
  const { t, language } = useI18n();
  const points = of.history;
  const last = points.at(-1);
  if (!last) return <p className="quiet">{t("experiment.nothing")}</p>;
  // The first intervals are as wide as can be: they would press the rest flat, and are cut.
  const reach = Math.min(1, 1.3 * Math.max(of.min_effect, Math.abs(last.low), Math.abs(last.high)));
  const most = Number(last.count);
  const x = (count: string) => (most ? (Number(count) / most) * WIDTH : 0);
  const y = (value: number) => HEIGHT / 2 - (Math.max(-reach, Math.min(reach, value)) / reach) * (HEIGHT / 2);
  const line = (value: (point: (typeof points)[number]) => number) =>
    points.map((point) => `${x(point.count)},${y(value(point))}`);
  const band = [...line((point) => point.high), ...line((point) => point.low).reverse()].join(" ");
  const caption = t("experiment.caption", {
    difference: formatPoints(language, last.difference),
    low: formatPoints(language, last.low),
    high: formatPoints(language, last.high),
    count: formatNumber(language, most),
  });
  return (
    <figure className="interval-time">
      <svg viewBox={`0 0 ${WIDTH} ${HEIGHT}`} role="img" aria-label={`${t("experiment.over")}. ${caption}`}>
        {[of.min_effect, -of.min_effect].map((value) => (
          <line key={value} className="effect" x1={0} x2={WIDTH} y1={y(value)} y2={y(value)} />
        ))}
        <line className="zero" x1={0} x2={WIDTH} y1={y(0)} y2={y(0)} />
        <polygon points={band} />
        <polyline points={line((point) => point.difference).join(" ")} />
      </svg>
      <figcaption className="quiet">{caption}</figcaption>
    </figure>
  );
}
