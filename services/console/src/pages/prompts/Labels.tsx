import { CloseOutlined, SwapOutlined } from "@ant-design/icons";
import { Button, Form, Input, Select, Tooltip } from "antd";
import { useState } from "react";
import { post } from "@/api/client";
import { lastPart } from "@/api/names";
import { useChange, useMay } from "@/api/queries";
import type { Prompt } from "@/api/types";
import { useI18n } from "@/i18n";
import { Actor } from "@/ui/Actor";
import { FormDrawer } from "@/ui/FormDrawer";
import { Panel } from "@/ui/Page";
import { useConfirm } from "@/ui/useConfirm";
import { useMessage } from "@/ui/useMessage";
import { Time } from "@/ui/values";

/** Moves that are shown before somebody asks for all. */
const FEW = 5;
/** As the server takes it: a word, not a number. */
export const LABEL = /^(?=.*[a-z])[a-z0-9]+(?:-[a-z0-9]+)*$/;

interface Values {
  label: string;
  version: number;
}

/** Which version each label leads to, and who moved it when. */
export function Labels({ prompt }: { prompt: Prompt }) {
  const { t } = useI18n();
  const mayMove = useMay("ENGINEER");
  const [moving, setMoving] = useState<string | null>(null);
  const confirm = useConfirm();
  const move = useChange(["inference_gateway"], (values: Values) =>
    post<Prompt>(`/${prompt.name}:setLabel`, { ...values, etag: prompt.etag }),
  );
  const askToRemove = (label: string) =>
    confirm({
      title: t("prompts.removeLabel", { label }),
      hint: t("prompts.removeLabelHint"),
      confirm: t("prompts.remove"),
      danger: true,
      done: t("prompts.labelRemoved", { label }),
      act: () => move.mutateAsync({ label, version: 0 }),
    });
  const labels = Object.entries(prompt.labels).sort();
  return (
    <Panel
      title={t("prompts.labels")}
      extra={
        mayMove && (
          <Button size="small" onClick={() => setMoving("")}>
            {t("prompts.setLabel")}
          </Button>
        )
      }
    >
      <div className="stack-s">
        {!labels.length && <p className="quiet">{t("prompts.noLabels")}</p>}
        {labels.map(([label, number]) => (
          <div key={label} className="row">
            <span className="grow ellipsis">
              <span className="mono">{label}</span> → {t("prompts.version", { n: number })}
            </span>
            {mayMove && (
              <>
                <Tooltip title={t("prompts.move")}>
                  <Button
                    type="text"
                    size="small"
                    icon={<SwapOutlined aria-hidden />}
                    aria-label={t("prompts.moveLabel", { label })}
                    onClick={() => setMoving(label)}
                  />
                </Tooltip>
                <Tooltip title={t("prompts.remove")}>
                  <Button
                    type="text"
                    size="small"
                    icon={<CloseOutlined aria-hidden />}
                    aria-label={t("prompts.removeThis", { label })}
                    onClick={() => askToRemove(label)}
                  />
                </Tooltip>
              </>
            )}
          </div>
        ))}
        <History prompt={prompt} />
      </div>
      <MoveDrawer prompt={prompt} label={moving} onMove={move.mutateAsync} onClose={() => setMoving(null)} />
    </Panel>
  );
}

function History({ prompt }: { prompt: Prompt }) {
  const { t } = useI18n();
  const [all, setAll] = useState(false);
  if (!prompt.history.length) return null;
  const version = (number: number) => (number ? t("prompts.version", { n: number }) : t("prompts.nowhere"));
  return (
    <>
      <span className="quiet">{t("prompts.history")}</span>
      {prompt.history.slice(0, all ? undefined : FEW).map((move) => (
        <div key={`${move.time} ${move.label}`}>
          <div>
            <span className="mono">{move.label}</span>: {version(move.from_version)} → {version(move.to_version)}
          </div>
          <div className="quiet">
            <Time value={move.time} /> ·{" "}
            <span translate="no">
              <Actor value={move.moved_by} />
            </span>
          </div>
        </div>
      ))}
      {!all && prompt.history.length > FEW && (
        <Button size="small" type="link" onClick={() => setAll(true)}>
          {t("prompts.allMoves", { n: prompt.history.length })}
        </Button>
      )}
    </>
  );
}

/** `label`: the one to move, "" for a new one, null while closed. */
function MoveDrawer(props: {
  prompt: Prompt;
  label: string | null;
  onMove: (values: Values) => Promise<unknown>;
  onClose: () => void;
}) {
  const { t } = useI18n();
  const message = useMessage();
  const { prompt, label } = props;
  const numbers = Array.from({ length: prompt.newest_version }, (_, at) => prompt.newest_version - at);
  return (
    <FormDrawer<Values>
      open={label !== null}
      onClose={props.onClose}
      title={label ? t("prompts.moveLabel", { label }) : t("prompts.setLabel")}
      lead={t("prompts.moveLead", { id: lastPart(prompt.name) })}
      submitText={t("prompts.move")}
      initialValues={{ label: label ?? "", version: prompt.newest_version }}
      onSubmit={async (values) => {
        await props.onMove(values);
        message.success(t("prompts.moved", { label: values.label, n: values.version }));
      }}
    >
      <Form.Item
        name="label"
        label={t("prompts.label")}
        rules={[{ required: true, pattern: LABEL, max: 40, message: t("prompts.labelRule") }]}
      >
        <Input className="mono" maxLength={40} disabled={Boolean(label)} placeholder="production" autoComplete="off" />
      </Form.Item>
      <Form.Item name="version" label={t("column.version")} rules={[{ required: true, message: t("form.required") }]}>
        <Select<number>
          showSearch
          options={numbers.map((number) => ({ value: number, label: t("prompts.version", { n: number }) }))}
        />
      </Form.Item>
    </FormDrawer>
  );
}
