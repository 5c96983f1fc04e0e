import type { ReactNode } from "react";
import { Link } from "react-router";
import { useProject } from "@/api/queries";
import type { Evaluation, Pipeline, Run, Summary } from "@/api/types";
import { useI18n } from "@/i18n";
import { formatNumber } from "@/i18n/format";
import { type Station, stations } from "./stations";

/** The track in its own units; the stations stand at fixed shares of it, so that it can be drawn at any width. */
const WIDTH = 1000;
const HEIGHT = 230;
const LEFT = 150;
const RIGHT = 850;
const RADIUS = HEIGHT / 2;
const STRETCH = (RIGHT - LEFT) / 3;

interface Props {
  summary: Summary;
  lap?: Pipeline;
  runs: Run[];
  evaluations: Evaluation[];
  children: ReactNode;
}

/** The loop as a track with eight stops. Where work goes on the track moves; where a person is awaited it is amber. */
export function Loop({ summary, lap, runs, evaluations, children }: Props) {
  const { t } = useI18n();
  const stops = stations(summary, lap, runs, evaluations);
  return (
    <div className="loop">
      <svg className="loop-track" viewBox={`0 0 ${WIDTH} ${HEIGHT}`} preserveAspectRatio="none" aria-hidden>
        {stops.map((stop, index) => (
          <path key={stop.id} d={segment(index)} className={tone(stop)} />
        ))}
      </svg>
      <ol className="loop-stops" aria-label={t("home.loop")}>
        {stops.map((stop, index) => (
          <li key={stop.id} style={place(index)} className={`${index < 4 ? "above" : "below"} ${tone(stop)}`}>
            <Stop stop={stop} />
          </li>
        ))}
      </ol>
      <div className="loop-middle">{children}</div>
    </div>
  );
}

function Stop({ stop }: { stop: Station }) {
  const { t, language } = useI18n();
  const project = useProject();
  return (
    <Link to={`/p/${project}/${stop.to}`} className="loop-stop">
      <i aria-hidden />
      <span className="loop-name">{t(stop.label)}</span>
      <span className="loop-count num">
        {stop.count == null ? "–" : t(stop.counted, { n: stop.count, count: formatNumber(language, stop.count) })}
      </span>
    </Link>
  );
}

function tone(stop: Station): string {
  if (stop.busy) return "busy";
  if (stop.waiting > 0) return "waits";
  return stop.count ? "has" : "none";
}

function place(index: number) {
  const across = index < 4 ? index : 7 - index;
  return { left: `${((LEFT + across * STRETCH) / WIDTH) * 100}%` };
}

/** From a stop to the next: three straights along the top, the right bend, three along the bottom, the left bend. */
function segment(index: number): string {
  const x = (at: number) => LEFT + at * STRETCH;
  if (index < 3) return `M${x(index)},0 H${x(index + 1)}`;
  if (index === 3) return `M${RIGHT},0 A${RADIUS},${RADIUS} 0 0 1 ${RIGHT},${HEIGHT}`;
  if (index < 7) return `M${x(7 - index)},${HEIGHT} H${x(6 - index)}`;
  return `M${LEFT},${HEIGHT} A${RADIUS},${RADIUS} 0 0 1 ${LEFT},0`;
}
