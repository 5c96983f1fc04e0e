import { bare } from "@/api/names";
import type { Completion, Step } from "@/api/types";
import { useI18n } from "@/i18n";
import { formatMs } from "@/i18n/format";
import { GiveFeedback } from "@/pages/playground/GiveFeedback";
import { Content } from "@/ui/Conversation";
import { Ref } from "@/ui/Id";
import { type FactRows, Facts, Panel } from "@/ui/Page";
import { Cost, Nothing, Num, Time } from "@/ui/values";

/** What one step was given and gave. */
export function StepView({ step }: { step: Step }) {
  const { t, word, language } = useI18n();
  const figures = useFigures();
  return (
    <Panel title={`${word("step", bare(step.kind))} · ${step.title}`}>
      <div className="stack">
        {step.completion ? <Talk completion={step.completion} /> : <Texts step={step} />}
        <Facts
          list
          rows={[
            [t("traces.began"), <Time value={step.start_time} />],
            [t("traces.took"), formatMs(language, step.duration_ms)],
            step.error !== "" && [t("traces.error"), <span className="mono">{step.error}</span>],
            ...(step.completion ? figures(step.completion) : attributes(step)),
          ]}
        />
        {step.completion && <GiveFeedback answer={{ id: idOf(step), text: step.completion.answer }} />}
      </div>
    </Panel>
  );
}

function useFigures(): (completion: Completion) => FactRows {
  const { t, word, language } = useI18n();
  return (completion) => [
    [t("traces.answeredBy"), <Ref name={completion.variant || completion.model_version || completion.deployment} />],
    [
      t("traces.firstToken"),
      completion.time_to_first_token_ms ? formatMs(language, completion.time_to_first_token_ms) : <Nothing />,
    ],
    [
      t("traces.tokens"),
      <>
        <Num value={completion.usage?.prompt_tokens ?? 0} /> + <Num value={completion.usage?.completion_tokens ?? 0} />
      </>,
    ],
    completion.cached_tokens > 0 && [t("traces.cached"), <Num value={completion.cached_tokens} />],
    [t("column.cost"), <Cost microusd={String(completion.cost_microusd)} />],
    [t("traces.finish"), completion.finish_reason ? word("finish", completion.finish_reason) : <Nothing />],
    completion.prompt !== "" && [t("guard.prompt"), <Ref name={completion.prompt} />],
    completion.guardrails.length > 0 && [
      t("guard.found"),
      <span className="mono">{completion.guardrails.join(", ")}</span>,
    ],
    completion.cached && [t("guard.cached"), t("guard.yes")],
    completion.rating !== "" && [t("traces.rating"), word("rating", completion.rating)],
  ];
}

function Talk({ completion }: { completion: Completion }) {
  const answer = { role: "assistant", content: completion.answer, tool_calls: completion.tool_calls };
  return (
    <div className="talk">
      {[...completion.messages, answer].map((turn, index) => (
        // biome-ignore lint/suspicious/noArrayIndexKey: a conversation's turns have no other identity and never move
        <TurnView key={index} turn={turn} />
      ))}
    </div>
  );
}

function TurnView({ turn }: { turn: Pick<Completion["messages"][number], "role" | "content" | "tool_calls"> }) {
  const { word } = useI18n();
  return (
    <div className={`turn ${turn.role}`}>
      <span className="turn-role">{word("chatRole", turn.role)}</span>
      <div className="stack-s">
        {turn.content && <Content text={turn.content} />}
        {turn.tool_calls.map((call) => (
          <div key={`${call.id}${call.name}`} className="trace-call mono">
            {call.name}({call.arguments})
          </div>
        ))}
      </div>
    </div>
  );
}

function Texts({ step }: { step: Step }) {
  const { t } = useI18n();
  if (!step.input && !step.output) return <p className="quiet">{t("traces.noTexts")}</p>;
  return (
    <div className="talk">
      {[
        [t("traces.given"), step.input],
        [t("traces.gave"), step.output],
      ].map(
        ([label, text]) =>
          text && (
            <div key={label} className="turn">
              <span className="turn-role">{label}</span>
              <Content text={text} />
            </div>
          ),
      )}
    </div>
  );
}

function attributes(step: Step): FactRows {
  const told = Object.entries(JSON.parse(step.attributes_json || "{}") as Record<string, unknown>);
  return told.map(([name, value]) => [name, <span className="mono">{String(value)}</span>] as const);
}

function idOf(step: Step): string {
  return step.name.slice(step.name.lastIndexOf("/") + 1);
}
