import { Skeleton } from "antd";
import { Link } from "react-router";
import { lastPart, shortName } from "@/api/names";
import { useProject } from "@/api/queries";
import type { Evaluation, Pipeline } from "@/api/types";
import { useI18n } from "@/i18n";
import { formatPercent } from "@/i18n/format";
import { newestOfEach, usualChoice } from "@/pages/evaluations/compare";
import { StageDots } from "@/pages/pipelines/Stages";
import { useTheme } from "@/theme";
import { seriesColours } from "@/theme/palette";
import { State } from "@/ui/State";

/** What the laps have brought, on the suite that was measured last: base, then lap after lap. */
export function LastLap({
  lap,
  evaluations,
  loading,
}: {
  lap?: Pipeline;
  evaluations: Evaluation[];
  loading: boolean;
}) {
  const { t, language } = useI18n();
  const { palette } = useTheme();
  const project = useProject();
  if (loading) return <Skeleton active paragraph={{ rows: 2 }} title={false} />;
  const scores = toScores(evaluations);
  const colours = seriesColours(palette, scores.length);
  return (
    <div className="lap">
      {lap && (
        <Link to={`/p/${project}/pipelines/${lastPart(lap.name)}`} className="lap-title">
          <span>{lap.display_name || t("pipelines.numbered", { n: lap.number })}</span>
          <StageDots stages={lap.stages} />
          <State value={lap.state} why={lap.failure_reason} />
        </Link>
      )}
      {scores.length ? (
        <ol className="lap-scores">
          {scores.map((score, index) => (
            <li key={score.variant}>
              <span className="quiet ellipsis">
                {index === 0 && scores.length > 1 ? t("home.base") : shortName(score.variant)}
              </span>
              <strong className="num" style={{ color: colours[index] }}>
                {formatPercent(language, score.value)}
              </strong>
              <span className="quiet num">
                {formatPercent(language, score.lower)} – {formatPercent(language, score.upper)}
              </span>
            </li>
          ))}
        </ol>
      ) : (
        <div className="lap-none">
          <strong>{t("home.noScores")}</strong>
          <p className="second">{t("home.noScoresHint")}</p>
        </div>
      )}
      {scores[0] && <span className="quiet">{t("home.scoresOf", { suite: lastPart(scores[0].suite) })}</span>}
    </div>
  );
}

function toScores(evaluations: Evaluation[]) {
  const done = evaluations.filter((one) => one.state === "STATE_SUCCEEDED");
  const suite = done.toSorted((a, b) => (b.create_time ?? "").localeCompare(a.create_time ?? ""))[0]?.suite;
  const shown = usualChoice(newestOfEach(done.filter((one) => one.suite === suite)));
  return shown.flatMap((one) => {
    const score = one.scores.find((found) => found.slice === "" && found.metric === "exact");
    return score ? [{ ...score, variant: one.variant, suite: one.suite }] : [];
  });
}
