import { PlayCircleOutlined } from "@ant-design/icons";
import { Button, Select, Skeleton } from "antd";
import { Link, useSearchParams } from "react-router";
import { lastPart } from "@/api/names";
import { useGet, useProject } from "@/api/queries";
import type { Prompt, PromptVersion } from "@/api/types";
import { useI18n } from "@/i18n";
import { Actor } from "@/ui/Actor";
import "@/ui/conversation.css";
import { Facts, Panel } from "@/ui/Page";
import { withParam } from "@/ui/Search";
import { Trouble } from "@/ui/Trouble";
import { Nothing, Time } from "@/ui/values";
import { diffLines, linesOf, parametersText, piecesOf } from "./diff";
import { playgroundAddress } from "./playground";
import "./prompts.css";

/** One version as it is, or what changed since another one. */
export function VersionView({ prompt, version }: { prompt: Prompt; version: PromptVersion }) {
  const { t } = useI18n();
  const project = useProject();
  const [address, setAddress] = useSearchParams();
  const since = Number(address.get("since")) || 0;
  const setSince = (number: number) =>
    setAddress((before) => withParam(before, "since", number ? String(number) : ""), { replace: true });
  const numbers = Array.from({ length: prompt.newest_version }, (_, at) => prompt.newest_version - at);
  const comparing = since !== 0 && since !== version.number;
  return (
    <div className="stack">
      <Panel
        title={t("prompts.version", { n: version.number })}
        extra={
          <div className="row wrap">
            <Select<number>
              size="small"
              showSearch
              aria-label={t("prompts.compare")}
              style={{ minWidth: 170 }}
              value={comparing ? since : 0}
              onChange={setSince}
              options={[
                { value: 0, label: t("prompts.noCompare") },
                ...numbers
                  .filter((number) => number !== version.number)
                  .map((number) => ({ value: number, label: t("prompts.since", { n: number }) })),
              ]}
            />
            <Link to={`/p/${project}/playground?${playgroundAddress(version)}`}>
              <Button size="small" type="primary" tabIndex={-1} icon={<PlayCircleOutlined aria-hidden />}>
                {t("prompts.try")}
              </Button>
            </Link>
          </div>
        }
      >
        {comparing ? <Changes prompt={prompt} since={since} version={version} /> : <Content version={version} />}
      </Panel>
      <Panel>
        <Facts
          rows={[
            [t("prompts.variables"), <Variables names={version.variables} />],
            [t("prompts.comment"), version.comment || <Nothing />],
            [t("column.created"), <Time value={version.create_time} />],
            [t("column.by"), <Actor value={version.created_by} />],
            [
              t("prompts.asked"),
              <Link to={`/p/${project}/traces?prompt=${encodeURIComponent(version.name)}`}>{t("nav.traces")}</Link>,
            ],
          ]}
        />
      </Panel>
    </div>
  );
}

function Content({ version }: { version: PromptVersion }) {
  const { t, word } = useI18n();
  const parameters = parametersText(version);
  return (
    <div className="stack">
      <div className="talk">
        {version.messages.map((turn, index) => (
          // biome-ignore lint/suspicious/noArrayIndexKey: turns of a version have no other identity and never move
          <div key={index} className={`turn ${turn.role}`}>
            <span className="turn-role">{word("chatRole", turn.role)}</span>
            <div className="turn-text" translate="no">
              <Template text={turn.content} />
            </div>
          </div>
        ))}
      </div>
      {parameters && (
        <div className="stack-s">
          <span className="quiet">{t("prompts.parameters")}</span>
          <pre className="prompt-parameters" translate="no">
            {parameters}
          </pre>
        </div>
      )}
    </div>
  );
}

function Template({ text }: { text: string }) {
  return piecesOf(text).map((piece, at) =>
    at % 2 ? (
      // biome-ignore lint/suspicious/noArrayIndexKey: pieces are known by their place
      <span key={at} className="variable">
        {piece}
      </span>
    ) : (
      piece
    ),
  );
}

function Variables({ names }: { names: readonly string[] }) {
  if (!names.length) return <Nothing />;
  return (
    <span className="row wrap" style={{ gap: 4 }}>
      {names.map((name) => (
        <span key={name} className="variable">
          {name}
        </span>
      ))}
    </span>
  );
}

function Changes({ prompt, since, version }: { prompt: Prompt; since: number; version: PromptVersion }) {
  const { t, word } = useI18n();
  const before = useGet<PromptVersion>(`/projects/${useProject()}/prompts/${lastPart(prompt.name)}/versions/${since}`);
  if (before.isError) return <Trouble error={before.error} retry={() => before.refetch()} />;
  if (before.isPending) return <Skeleton active title={false} />;
  const role = (role: string) => word("chatRole", role);
  const lines = diffLines(linesOf(before.data, role), linesOf(version, role));
  if (lines.every((line) => line.kind === "same")) return <p className="quiet">{t("prompts.same", { n: since })}</p>;
  const sign = { same: "", added: "+", removed: "−" };
  return (
    <div className="prompt-diff" translate="no" role="group" aria-label={t("prompts.since", { n: since })}>
      {lines.map((line, at) => (
        // biome-ignore lint/suspicious/noArrayIndexKey: lines are known by their place
        <div key={at} className={line.kind}>
          <span>{sign[line.kind]}</span>
          <span>{line.text}</span>
        </div>
      ))}
    </div>
  );
}
