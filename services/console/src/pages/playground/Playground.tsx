import { ClearOutlined, SendOutlined, ShareAltOutlined } from "@ant-design/icons";
import { Button, Input } from "antd";
import type { TextAreaRef } from "antd/es/input/TextArea";
import { useEffect, useRef, useState } from "react";
import { Link, useSearchParams } from "react-router";
import { bare, lastPart } from "@/api/names";
import { useList, useProject } from "@/api/queries";
import type { Deployment } from "@/api/types";
import { useI18n } from "@/i18n";
import { Empty } from "@/ui/Empty";
import { Page, Panel } from "@/ui/Page";
import { Trouble } from "@/ui/Trouble";
import { addressOf, type Lane, lanesOf, type PromptChoice, promptOf } from "./address";
import { Exchange } from "./Exchange";
import { Lanes } from "./Lanes";
import { deploymentOf } from "./models";
import { PromptPanel } from "./PromptPanel";
import { type Manner, SettingsPanel } from "./SettingsPanel";
import { type Round, useChat } from "./useChat";
import { usePick } from "./usePick";
import "./playground.css";
import { useMessage } from "@/ui/useMessage";

/** Talk to what is deployed, up to four models at once, and say which answer was better or what it should have been. */
export function Playground() {
  const { t } = useI18n();
  const project = useProject();
  const deployments = useList<"deployments", Deployment>(`/projects/${project}/deployments`, { page_size: 200 });
  const all = deployments.data?.deployments ?? [];

  if (deployments.isError) {
    return (
      <Page title={t("playground.title")}>
        <Trouble error={deployments.error} retry={() => deployments.refetch()} />
      </Page>
    );
  }
  if (deployments.isSuccess && !all.length) {
    return (
      <Page title={t("playground.title")}>
        <Panel>
          <Empty
            title={t("playground.noDeployment")}
            hint={t("playground.noDeploymentHint")}
            action={<Link to={`/p/${project}/deployments`}>{t("nav.deployments")}</Link>}
          />
        </Panel>
      </Page>
    );
  }
  return <Stage deployments={all} />;
}

function Stage({ deployments }: { deployments: readonly Deployment[] }) {
  const { t } = useI18n();
  const { lanes, setLanes, prompt, setPrompt } = useLanes(deployments);
  const [variables, setVariables] = useState<Record<string, string>>({});
  const [manner, setManner] = useState<Manner>({ remember: true, apart: hasSettingsApart(lanes) });
  const chat = useChat(useProject());
  const pick = usePick(chat.pick);
  const last = chat.rounds.at(-1);
  useKeys({
    stop: chat.busy ? chat.stop : undefined,
    pick: (at) => {
      if (last && last.replies.length > 1 && last.picked === undefined && last.replies[at]?.state === "done")
        pick(last, at);
    },
  });
  return (
    <Page
      full
      title={t("playground.title")}
      lead={t("playground.lead")}
      actions={
        <>
          <Lanes lanes={lanes} deployments={deployments} onChange={setLanes} />
          <Share lanes={lanes} prompt={prompt} />
          <Button icon={<ClearOutlined aria-hidden />} disabled={!chat.rounds.length} onClick={chat.clear}>
            {t("playground.clear")}
          </Button>
        </>
      }
    >
      <div className="play">
        <section className="panel play-talk">
          <Talk
            rounds={chat.rounds}
            deployments={deployments}
            onRetry={(at) => {
              const lane = lanes[at];
              if (lane) chat.retry(at, lane, manner.remember);
            }}
            onStop={chat.stopOne}
            onPick={pick}
          />
          <Ask
            busy={chat.busy}
            mayBeEmpty={Boolean(prompt) && !chat.rounds.length}
            onAsk={(text) => chat.ask(text, lanes, manner.remember, prompt && { ...prompt, variables })}
            onStop={chat.stop}
          />
        </section>
        <div className="stack play-side">
          <PromptPanel chosen={prompt} variables={variables} onChoose={setPrompt} onVariables={setVariables} />
          <SettingsPanel
            lanes={lanes}
            manner={manner}
            hasPrompt={Boolean(prompt)}
            onLanes={setLanes}
            onManner={setManner}
          />
        </div>
      </div>
    </Page>
  );
}

/** The models, their settings and the prompt, kept in the address but for the texts: those stay in this window. */
function useLanes(deployments: readonly Deployment[]) {
  const [address, setAddress] = useSearchParams();
  const [systems, setSystems] = useState<string[]>([]);
  const prompt = promptOf(address);
  const named = lanesOf(address).filter((lane) => deploymentOf(deployments, lane.model));
  const first = deployments.find((one) => bare(one.state) === "READY") ?? deployments[0];
  const usual = first ? lanesOf(address, [lastPart(first.name)]) : [];
  const lanes = (named.length ? named : usual).map((lane, at) => ({ ...lane, system: systems[at] ?? "" }));
  const setLanes = (changed: Lane[]) => {
    setSystems(changed.map((lane) => lane.system));
    setAddress(addressOf(changed, prompt), { replace: true });
  };
  const setPrompt = (chosen?: PromptChoice) => setAddress(addressOf(lanes, chosen), { replace: true });
  return { lanes, setLanes, prompt, setPrompt };
}

function hasSettingsApart(lanes: readonly Lane[]): boolean {
  return new Set(lanes.map((lane) => `${lane.temperature} ${lane.max_tokens}`)).size > 1;
}

function Share({ lanes, prompt }: { lanes: readonly Lane[]; prompt?: PromptChoice }) {
  const { t } = useI18n();
  const message = useMessage();
  const copy = () => {
    const link = `${location.origin}${location.pathname}?${addressOf(lanes, prompt)}`;
    navigator.clipboard.writeText(link).then(() => message.success(t("playground.shared")));
  };
  return (
    <Button icon={<ShareAltOutlined aria-hidden />} onClick={copy}>
      {t("playground.share")}
    </Button>
  );
}

/** Escape stops all answers, Alt with a number picks one. */
function useKeys({ stop, pick }: { stop?: () => void; pick: (at: number) => void }) {
  const now = useRef({ stop, pick });
  now.current = { stop, pick };
  useEffect(() => {
    const press = (event: KeyboardEvent) => {
      const digit = /^Digit([1-4])$/.exec(event.code)?.[1];
      if (event.key === "Escape") now.current.stop?.();
      if (!event.altKey || event.ctrlKey || event.metaKey || !digit) return;
      event.preventDefault();
      now.current.pick(Number(digit) - 1);
    };
    window.addEventListener("keydown", press);
    return () => window.removeEventListener("keydown", press);
  }, []);
}

interface TalkProps {
  rounds: readonly Round[];
  deployments: readonly Deployment[];
  onRetry: (at: number) => void;
  onStop: (round: Round, at: number) => void;
  onPick: (round: Round, at: number) => void;
}

function Talk({ rounds, deployments, onRetry, onStop, onPick }: TalkProps) {
  const { t } = useI18n();
  const place = useRef<HTMLDivElement>(null);
  const length = rounds.at(-1)?.replies.reduce((sum, reply) => sum + reply.answer.text.length, 0);
  // biome-ignore lint/correctness/useExhaustiveDependencies: follows the answers as they grow
  useEffect(() => {
    if (place.current) place.current.scrollTop = place.current.scrollHeight;
  }, [rounds.length, length]);
  return (
    // biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls must be reachable by keyboard
    <div className="play-scroll" ref={place} tabIndex={0} role="log" aria-label={t("playground.talk")}>
      {rounds.length ? (
        rounds.map((round, index) => (
          <Exchange
            key={round.id}
            round={round}
            deployments={deployments}
            onRetry={index === rounds.length - 1 ? onRetry : undefined}
            onStop={(at) => onStop(round, at)}
            onPick={(at) => onPick(round, at)}
          />
        ))
      ) : (
        <Empty title={t("playground.empty")} hint={t("playground.emptyHint")} />
      )}
    </div>
  );
}

interface AskProps {
  busy: boolean;
  /** While a prompt alone is a question. */
  mayBeEmpty: boolean;
  onAsk: (text: string) => void;
  onStop: () => void;
}

function Ask({ busy, mayBeEmpty, onAsk, onStop }: AskProps) {
  const { t } = useI18n();
  const [text, setText] = useState("");
  const input = useRef<TextAreaRef>(null);
  const send = () => {
    if ((!text.trim() && !mayBeEmpty) || busy) return;
    onAsk(text.trim());
    setText("");
    input.current?.focus();
  };
  return (
    <div className="play-ask">
      <Input.TextArea
        ref={input}
        autoFocus
        value={text}
        aria-label={t("playground.ask")}
        placeholder={t(mayBeEmpty ? "playground.askWith" : "playground.askHint")}
        autoSize={{ minRows: 1, maxRows: 8 }}
        onChange={(event) => setText(event.target.value)}
        onKeyDown={(event) => {
          // While an input method composes, Enter chooses a character.
          if (event.key !== "Enter" || event.shiftKey || event.nativeEvent.isComposing) return;
          event.preventDefault();
          send();
        }}
      />
      {busy ? (
        <Button onClick={onStop}>{t("action.stop")}</Button>
      ) : (
        <Button
          type="primary"
          icon={<SendOutlined aria-hidden />}
          disabled={!text.trim() && !mayBeEmpty}
          onClick={send}
        >
          {t("playground.send")}
        </Button>
      )}
    </div>
  );
}
