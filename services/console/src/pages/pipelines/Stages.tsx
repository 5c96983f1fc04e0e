import { Tooltip } from "antd";
import { bare } from "@/api/names";
import type { Stage } from "@/api/types";
import { type Language, useI18n } from "@/i18n";
import { formatDuration } from "@/i18n/format";
import { Ref } from "@/ui/Id";
import { State } from "@/ui/State";
import "./stages.css";

/** A lap in a table's cell: one dot for each stage. */
export function StageDots({ stages }: { stages: Stage[] }) {
  const { word } = useI18n();
  return (
    <span className="stage-dots">
      {stages.map((stage) => {
        const text = `${word("stage", stage.id)}: ${word("state", bare(stage.state))}`;
        return (
          <Tooltip key={stage.id} title={text}>
            <i className={bare(stage.state).toLowerCase()} role="img" aria-label={text} />
          </Tooltip>
        );
      })}
    </span>
  );
}

/** A lap's stages as a track: what is done, what runs, what is to come. */
export function StageTrack({ stages }: { stages: Stage[] }) {
  const { word, language } = useI18n();
  return (
    <ol className="stage-track">
      {stages.map((stage) => (
        <li
          key={stage.id}
          className={bare(stage.state).toLowerCase()}
          aria-current={bare(stage.state) === "RUNNING" ? "step" : undefined}
        >
          <i aria-hidden />
          <strong>{word("stage", stage.id)}</strong>
          <span className="quiet num">{took(language, stage) ?? word("state", bare(stage.state))}</span>
        </li>
      ))}
    </ol>
  );
}

/** Each stage with what it worked on, what it says and what came out. */
export function StageTable({ stages }: { stages: Stage[] }) {
  const { t, word, language } = useI18n();
  return (
    <ol className="stage-list">
      {stages.map((stage) => (
        <li key={stage.id}>
          <strong>{word("stage", stage.id)}</strong>
          <State value={stage.state} />
          <span className="quiet num">{took(language, stage)}</span>
          <div className="stack-s" style={{ gap: 2 }}>
            {stage.resource && (
              <span>
                <Ref name={stage.resource} />
              </span>
            )}
            {language !== "en-US" && waitsForPeople(stage) && (
              <span className="second">
                {t("pipelines.approved", { n: stage.result.approved ?? "0", of: stage.result.wanted ?? "" })}
              </span>
            )}
            {stage.message && (language === "en-US" || bare(stage.state) === "FAILED") && (
              <span className="second" lang="en">
                {stage.message}
              </span>
            )}
            <Facts stage={stage} />
          </div>
        </li>
      ))}
    </ol>
  );
}

/** What a stage says is English; this one may be read for days. */
function waitsForPeople(stage: Stage): boolean {
  return stage.id === "collect" && bare(stage.state) === "RUNNING" && "wanted" in stage.result;
}

/** The resources that a stage found or made; its figures are said better where they belong. */
function Facts({ stage }: { stage: Stage }) {
  const { word } = useI18n();
  const facts = Object.entries(stage.result).filter(
    ([, value]) => value.startsWith("projects/") && value !== stage.resource,
  );
  if (!facts.length) return null;
  return (
    <span className="row wrap" style={{ gap: "2px 14px" }}>
      {facts.map(([name, value]) => (
        <span key={name}>
          <span className="quiet">{factName(name, word)}</span> <Ref name={value} />
        </span>
      ))}
    </span>
  );
}

/** `candidate/projects/p/suites/held-out` is said as "Candidate held-out". */
function factName(name: string, word: (prefix: string, code: string) => string): string {
  const [first = "", ...suite] = name.split("/");
  return suite.length ? `${word("stageFact", first)} ${suite.at(-1)}` : word("stageFact", first);
}

function took(language: Language, stage: Stage): string | undefined {
  if (!stage.start_time) return undefined;
  const end = stage.end_time ? new Date(stage.end_time).getTime() : Date.now();
  const seconds = (end - new Date(stage.start_time).getTime()) / 1000;
  return seconds < 1 ? `< ${formatDuration(language, 1)}` : formatDuration(language, seconds);
}
