import { Input, Segmented, Switch } from "antd";
import { useId, useState } from "react";
import { useI18n } from "@/i18n";
import { NumberInput } from "@/ui/NumberInput";
import { Panel } from "@/ui/Page";
import { DEFAULTS, type Lane, type Settings } from "./address";

export interface Manner {
  /** Whether the questions and answers before are sent along. */
  remember: boolean;
  /** Whether each model has settings of its own. */
  apart: boolean;
}

interface Props {
  lanes: readonly Lane[];
  manner: Manner;
  /** It has the system message then. */
  hasPrompt: boolean;
  onLanes: (lanes: Lane[]) => void;
  onManner: (manner: Manner) => void;
}

export function SettingsPanel({ lanes, manner, hasPrompt, onLanes, onManner }: Props) {
  const { t } = useI18n();
  const id = useId();
  const [chosen, setChosen] = useState(0);
  const apart = manner.apart && lanes.length > 1;
  const at = apart ? Math.min(chosen, lanes.length - 1) : 0;
  const lane = lanes[at];
  if (!lane) return null;
  const change = (settings: Partial<Settings>) =>
    onLanes(lanes.map((one, index) => (!apart || index === at ? { ...one, ...settings } : one)));
  const toggle = (apart: boolean) => {
    onManner({ ...manner, apart });
    const { temperature, max_tokens, system } = lane;
    if (!apart) onLanes(lanes.map((one) => ({ ...one, temperature, max_tokens, system })));
  };
  return (
    <Panel title={t("playground.settings")}>
      <div className="stack">
        {lanes.length > 1 && (
          <div className="row">
            <Switch id={`${id}apart`} size="small" checked={manner.apart} onChange={toggle} />
            <label htmlFor={`${id}apart`}>{t("playground.apart")}</label>
          </div>
        )}
        {apart && (
          <Segmented
            block
            aria-label={t("playground.settingsOf")}
            value={at}
            onChange={setChosen}
            options={lanes.map((one, index) => ({ value: index, label: String(index + 1), title: one.model }))}
          />
        )}
        {apart && <span className="second ellipsis">{lane.model}</span>}
        {!hasPrompt && (
          <div className="setting">
            <label htmlFor={`${id}system`}>{t("playground.system")}</label>
            <Input.TextArea
              id={`${id}system`}
              value={lane.system}
              autoSize={{ minRows: 3, maxRows: 10 }}
              placeholder={t("playground.systemHint")}
              onChange={(event) => change({ system: event.target.value })}
            />
          </div>
        )}
        <div className="setting">
          <label htmlFor={`${id}temperature`}>{t("playground.temperature")}</label>
          <NumberInput
            id={`${id}temperature`}
            min={0}
            max={2}
            step={0.1}
            value={lane.temperature}
            onChange={(value) => change({ temperature: value ?? DEFAULTS.temperature })}
          />
        </div>
        <div className="setting">
          <label htmlFor={`${id}tokens`}>{t("suites.maxTokens")}</label>
          <NumberInput
            id={`${id}tokens`}
            min={1}
            max={4096}
            precision={0}
            value={lane.max_tokens}
            onChange={(value) => change({ max_tokens: value ?? DEFAULTS.max_tokens })}
          />
        </div>
        <div className="row">
          <Switch
            id={`${id}remember`}
            size="small"
            checked={manner.remember}
            onChange={(remember) => onManner({ ...manner, remember })}
          />
          <label htmlFor={`${id}remember`}>{t("playground.remember")}</label>
        </div>
        <p className="quiet">{t("playground.feedbackNote")}</p>
        {lanes.length > 1 && <p className="quiet">{t("playground.pickNote", { pick: "Alt", stop: "Esc" })}</p>}
      </div>
    </Panel>
  );
}
