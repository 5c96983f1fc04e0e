import { Skeleton } from "antd";
import { Fragment } from "react";
import { Link } from "react-router";
import { lastPart, partOf } from "@/api/names";
import { useProject } from "@/api/queries";
import type { Evaluation, Pipeline } from "@/api/types";
import { useI18n } from "@/i18n";
import { formatPercent } from "@/i18n/format";
import { useSuiteNames } from "@/pages/evaluations/Comparison";
import { byVariant, type Measured, scoreOf, suitesOf, usualChoice } from "@/pages/evaluations/compare";
import { StageDots } from "@/pages/pipelines/Stages";
import { useTheme } from "@/theme";
import { seriesColours } from "@/theme/palette";
import { State } from "@/ui/State";
import { useTitles } from "@/ui/useTitles";

/** As many suites as there is room for: what was taught, and what was new. */
const MOST_SUITES = 2;

interface Props {
  lap?: Pipeline;
  evaluations: Evaluation[];
  loading: boolean;
}

/** What the laps have brought: base, then lap after lap, on each suite. */
export function LastLap({ lap, evaluations, loading }: Props) {
  const titles = useTitles();
  const { t } = useI18n();
  const project = useProject();
  const measured = usualChoice(byVariant(evaluations.filter((one) => one.state === "STATE_SUCCEEDED")));
  if (loading) return <Skeleton active paragraph={{ rows: 2 }} title={false} />;
  return (
    <div className="lap">
      {lap && (
        <Link to={`/p/${project}/pipelines/${lastPart(lap.name)}`} className="lap-title">
          <span>{titles.lap(lap)}</span>
          <StageDots stages={lap.stages} />
          <State value={lap.state} why={lap.failure_reason} />
        </Link>
      )}
      {measured.length ? (
        <Scores measured={measured} suites={suitesOf(measured).slice(0, MOST_SUITES)} />
      ) : (
        <div className="lap-none">
          <strong>{t("home.noScores")}</strong>
          <p className="second">{t("home.noScoresHint")}</p>
        </div>
      )}
    </div>
  );
}

function Scores({ measured, suites }: { measured: Measured[]; suites: string[] }) {
  const { t, language } = useI18n();
  const { palette } = useTheme();
  const suiteName = useSuiteNames();
  const colours = seriesColours(palette, measured.length);
  const percent = (share: number) => formatPercent(language, share);
  return (
    <div
      className="lap-scores"
      style={{ gridTemplateColumns: `auto repeat(${measured.length}, auto)` }}
      title={t("home.scoresAre")}
    >
      <span className="sr-only">{t("home.scoresAre")}</span>
      <span aria-hidden />
      {measured.map((one, index) => (
        <span key={one.variant} className="quiet">
          {index === 0 && measured.length > 1 ? t("home.base") : versionName(one.variant)}
        </span>
      ))}
      {suites.map((suite) => (
        <Fragment key={suite}>
          <span className="lap-suite">{suiteName(suite)}</span>
          {measured.map((one, index) => {
            const score = scoreOf(one, suite, "exact");
            return (
              <span key={one.variant} className="lap-score num">
                <strong style={{ color: colours[index] }}>{score ? percent(score.value) : "–"}</strong>
                {score && (
                  <span className="quiet">
                    {percent(score.lower)} – {percent(score.upper)}
                  </span>
                )}
              </span>
            );
          })}
        </Fragment>
      ))}
    </div>
  );
}

/** `hotline v2`: which variant of it is served is said elsewhere. */
function versionName(variant: string): string {
  return `${partOf(variant, "models")} v${partOf(variant, "versions")}`;
}
