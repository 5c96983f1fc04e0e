import { CheckCircleFilled, CheckCircleOutlined, PauseCircleOutlined, RedoOutlined } from "@ant-design/icons";
import { Button, Tooltip } from "antd";
import { Link } from "react-router";
import type { PromptWish } from "@/api/chat";
import { useProject } from "@/api/queries";
import type { Deployment } from "@/api/types";
import { useI18n } from "@/i18n";
import { formatCost, formatDuration, formatNumber } from "@/i18n/format";
import { Content } from "@/ui/Conversation";
import { Copyable } from "@/ui/Id";
import { Trouble } from "@/ui/Trouble";
import { GiveFeedback } from "./GiveFeedback";
import { costOf, deploymentOf, servedBy, targetOf } from "./models";
import type { Reply, Round } from "./useChat";

/** Seconds: what takes less says more about the browser than about the model. */
const SHORTEST_S = 0.05;

interface Props {
  round: Round;
  deployments: readonly Deployment[];
  /** Asks a model again; only the last question has it. */
  onRetry?: (at: number) => void;
  onStop: (at: number) => void;
  onPick: (at: number) => void;
}

/** A question, and below it the answers next to each other. */
export function Exchange({ round, deployments, onRetry, onStop, onPick }: Props) {
  const several = round.replies.length > 1;
  return (
    <article className={several ? "exchange several" : "exchange"}>
      <div className="exchange-question">
        {round.prompt && <PromptUsed prompt={round.prompt} />}
        {round.question}
      </div>
      <div className="exchange-answers" style={{ ["--lanes" as string]: round.replies.length }}>
        {round.replies.map((reply, at) => (
          <OneAnswer
            // biome-ignore lint/suspicious/noArrayIndexKey: a reply is known by its place
            key={at}
            reply={reply}
            deployment={deploymentOf(deployments, reply.model)}
            number={several ? at + 1 : 0}
            picked={round.picked === undefined ? undefined : round.picked === at}
            onRetry={onRetry && (() => onRetry(at))}
            onStop={() => onStop(at)}
            onPick={() => onPick(at)}
          />
        ))}
      </div>
    </article>
  );
}

/** Which prompt was asked, and with which values. */
function PromptUsed({ prompt }: { prompt: PromptWish }) {
  const { t } = useI18n();
  return (
    <div>
      <span className="chip">
        {t("playground.prompt")} {prompt.id}
        {prompt.version && ` @ ${prompt.version}`}
      </span>
      {Object.entries(prompt.variables).map(([name, value]) => (
        <div key={name} className="quiet">
          <span className="mono">{name}</span>: {value}
        </div>
      ))}
    </div>
  );
}

function OneAnswer({
  reply,
  deployment,
  number,
  picked,
  onRetry,
  onStop,
  onPick,
}: {
  reply: Reply;
  deployment?: Deployment;
  /** 0 where there is only one. */
  number: number;
  picked?: boolean;
  onRetry?: () => void;
  onStop: () => void;
  onPick: () => void;
}) {
  const { t } = useI18n();
  const { answer, state, model } = reply;
  const answering = state === "answering";
  return (
    <section className={picked ? "answer-card picked" : "answer-card"} aria-label={model}>
      {number > 0 && (
        <header className="row">
          <b className="grow ellipsis">{model}</b>
          {answering && (
            <Button size="small" type="text" icon={<PauseCircleOutlined aria-hidden />} onClick={onStop}>
              {t("action.stop")}
            </Button>
          )}
          {state === "done" && answer.id && (
            <Tooltip title={t("playground.pickHint", { key: `Alt+${number}` })}>
              <Button
                size="small"
                type={picked ? "primary" : "text"}
                disabled={picked !== undefined}
                icon={picked ? <CheckCircleFilled aria-hidden /> : <CheckCircleOutlined aria-hidden />}
                onClick={onPick}
              >
                {t(picked ? "playground.picked" : "playground.pick")}
              </Button>
            </Tooltip>
          )}
        </header>
      )}
      <div className="exchange-answer" aria-busy={answering}>
        {answering ? (
          <div className="turn-text">
            {answer.text}
            <i className="caret" aria-hidden />
          </div>
        ) : (
          answer.text && <Content text={answer.text} />
        )}
        {state === "failed" && <Trouble error={reply.error} />}
        {state === "stopped" && <span className="quiet">{t("playground.stopped")}</span>}
      </div>
      {!answering && answer.id && <Figures reply={reply} deployment={deployment} />}
      {!answering && (
        <div className="row wrap" style={{ gap: 2 }}>
          {onRetry && (
            <Button size="small" type="text" icon={<RedoOutlined aria-hidden />} onClick={onRetry}>
              {t("playground.again")}
            </Button>
          )}
          {answer.id && <GiveFeedback key={answer.id} answer={answer} />}
        </div>
      )}
    </section>
  );
}

function Figures({ reply: { answer, model }, deployment }: { reply: Reply; deployment?: Deployment }) {
  const { t, language } = useI18n();
  const project = useProject();
  const number = (value: number) => formatNumber(language, value, 1);
  const spoken =
    answer.totalMs !== undefined && answer.firstTokenMs !== undefined
      ? (answer.totalMs - answer.firstTokenMs) / 1000
      : 0;
  const target = targetOf(deployment, answer.version ?? "");
  const cost =
    answer.completionTokens === undefined
      ? undefined
      : costOf(target, answer.promptTokens ?? 0, answer.completionTokens);
  return (
    <div className="exchange-figures num">
      <span>{servedBy(target) || model}</span>
      {answer.firstTokenMs !== undefined && (
        <span>{t("playground.firstToken", { time: formatDuration(language, answer.firstTokenMs / 1000) })}</span>
      )}
      {answer.totalMs !== undefined && (
        <span>{t("playground.total", { time: formatDuration(language, answer.totalMs / 1000) })}</span>
      )}
      {answer.completionTokens !== undefined && (
        <span>
          {t("playground.tokens", {
            prompt: number(answer.promptTokens ?? 0),
            answer: number(answer.completionTokens),
          })}
        </span>
      )}
      {answer.completionTokens !== undefined && spoken > SHORTEST_S && (
        <span>{t("playground.speed", { speed: number(answer.completionTokens / spoken) })}</span>
      )}
      <span>{cost === undefined ? t("playground.noPrice") : formatCost(language, cost)}</span>
      <Copyable value={answer.id} shown={`…${answer.id.slice(-8)}`} />
      <Link to={`/p/${project}/traces/${answer.id}`}>{t("traces.open")}</Link>
    </div>
  );
}
