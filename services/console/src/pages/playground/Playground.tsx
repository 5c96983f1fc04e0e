import { ClearOutlined, SendOutlined } from "@ant-design/icons";
import { Button, Input, Switch } from "antd";
import type { TextAreaRef } from "antd/es/input/TextArea";
import { useEffect, useId, useRef, useState } from "react";
import { Link, useSearchParams } from "react-router";
import { bare, lastPart } from "@/api/names";
import { useList, useProject } from "@/api/queries";
import type { Deployment } from "@/api/types";
import { useI18n } from "@/i18n";
import { Empty } from "@/ui/Empty";
import { NumberInput } from "@/ui/NumberInput";
import { Page, Panel } from "@/ui/Page";
import { DeploymentPicker } from "@/ui/Pickers";
import { State } from "@/ui/State";
import { Trouble } from "@/ui/Trouble";
import { Exchange } from "./Exchange";
import { useChat } from "./useChat";
import "./playground.css";

interface Settings {
  system: string;
  /** Whether earlier questions and answers are sent along. */
  remember: boolean;
  temperature: number;
  max_tokens: number;
}

const DEFAULTS: Settings = { system: "", remember: true, temperature: 0, max_tokens: 256 };

/** Talk to what is deployed, and say what the answer should have been. */
export function Playground() {
  const { t } = useI18n();
  const project = useProject();
  const [address, setAddress] = useSearchParams();
  const deployments = useList<"deployments", Deployment>(`/projects/${project}/deployments`, { page_size: 200 });
  const all = deployments.data?.deployments ?? [];
  const wanted = address.get("deployment");
  const deployment =
    all.find((one) => lastPart(one.name) === wanted) ?? all.find((one) => bare(one.state) === "READY") ?? all[0];
  const [settings, setSettings] = useState(DEFAULTS);
  const chat = useChat(project);

  if (deployments.isError) {
    return (
      <Page title={t("playground.title")}>
        <Trouble error={deployments.error} retry={() => deployments.refetch()} />
      </Page>
    );
  }
  if (deployments.isSuccess && !deployment) {
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
  const ask = (text: string) => deployment && chat.ask(text, { model: lastPart(deployment.name), ...settings });
  return (
    <Page
      full
      title={t("playground.title")}
      lead={t("playground.lead")}
      actions={
        <>
          {deployment && <State value={deployment.state} why={deployment.failure_reason} />}
          <DeploymentPicker
            aria-label={t("playground.deployment")}
            value={deployment?.name}
            onChange={(name) => setAddress({ deployment: lastPart(String(name)) }, { replace: true })}
            style={{ minWidth: 220 }}
          />
          <Button icon={<ClearOutlined aria-hidden />} disabled={!chat.exchanges.length} onClick={chat.clear}>
            {t("playground.clear")}
          </Button>
        </>
      }
    >
      <div className="play">
        <section className="panel play-talk">
          <Talk chat={chat} />
          <Ask busy={chat.busy} onAsk={ask} onStop={chat.stop} />
        </section>
        <SettingsPanel settings={settings} onChange={setSettings} />
      </div>
    </Page>
  );
}

function SettingsPanel({ settings, onChange }: { settings: Settings; onChange: (settings: Settings) => void }) {
  const { t } = useI18n();
  const id = useId();
  return (
    <Panel title={t("playground.settings")}>
      <div className="stack">
        <div className="setting">
          <label htmlFor={`${id}system`}>{t("playground.system")}</label>
          <Input.TextArea
            id={`${id}system`}
            value={settings.system}
            autoSize={{ minRows: 3, maxRows: 10 }}
            placeholder={t("playground.systemHint")}
            onChange={(event) => onChange({ ...settings, system: event.target.value })}
          />
        </div>
        <div className="setting">
          <label htmlFor={`${id}temperature`}>{t("playground.temperature")}</label>
          <NumberInput
            id={`${id}temperature`}
            min={0}
            max={2}
            step={0.1}
            value={settings.temperature}
            onChange={(value) => onChange({ ...settings, temperature: value ?? DEFAULTS.temperature })}
          />
        </div>
        <div className="setting">
          <label htmlFor={`${id}tokens`}>{t("suites.maxTokens")}</label>
          <NumberInput
            id={`${id}tokens`}
            min={1}
            max={4096}
            precision={0}
            value={settings.max_tokens}
            onChange={(value) => onChange({ ...settings, max_tokens: value ?? DEFAULTS.max_tokens })}
          />
        </div>
        <div className="row">
          <Switch
            id={`${id}remember`}
            size="small"
            checked={settings.remember}
            onChange={(remember) => onChange({ ...settings, remember })}
          />
          <label htmlFor={`${id}remember`}>{t("playground.remember")}</label>
        </div>
        <p className="quiet">{t("playground.feedbackNote")}</p>
      </div>
    </Panel>
  );
}

function Talk({ chat }: { chat: ReturnType<typeof useChat> }) {
  const { t } = useI18n();
  const place = useRef<HTMLDivElement>(null);
  const last = chat.exchanges.at(-1);
  // biome-ignore lint/correctness/useExhaustiveDependencies: follows the answer as it grows
  useEffect(() => {
    if (place.current) place.current.scrollTop = place.current.scrollHeight;
  }, [chat.exchanges.length, last?.answer.text]);
  return (
    // biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls must be reachable by keyboard
    <div className="play-scroll" ref={place} tabIndex={0} role="log" aria-label={t("playground.talk")}>
      {chat.exchanges.length ? (
        chat.exchanges.map((exchange) => <Exchange key={exchange.id} exchange={exchange} />)
      ) : (
        <Empty title={t("playground.empty")} hint={t("playground.emptyHint")} />
      )}
    </div>
  );
}

function Ask({ busy, onAsk, onStop }: { busy: boolean; onAsk: (text: string) => void; onStop: () => void }) {
  const { t } = useI18n();
  const [text, setText] = useState("");
  const input = useRef<TextAreaRef>(null);
  const send = () => {
    if (!text.trim() || busy) return;
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
        placeholder={t("playground.askHint")}
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
        <Button type="primary" icon={<SendOutlined aria-hidden />} disabled={!text.trim()} onClick={send}>
          {t("playground.send")}
        </Button>
      )}
    </div>
  );
}
