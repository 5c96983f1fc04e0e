import { Button, Skeleton } from "antd";
import { useState } from "react";
import { Link, useNavigate, useParams } from "react-router";
import { remove } from "@/api/client";
import { bare, lastPart } from "@/api/names";
import { useChange, useGet, useMay, useProject } from "@/api/queries";
import type { Trace } from "@/api/types";
import { useI18n } from "@/i18n";
import { formatMs } from "@/i18n/format";
import { Copyable } from "@/ui/Id";
import { Facts, Page, Panel } from "@/ui/Page";
import { Trouble } from "@/ui/Trouble";
import { useAskToRemove } from "@/ui/useConfirm";
import { Cost, Nothing, Num, Time } from "@/ui/values";
import { StepView } from "./StepView";
import { type Node, nodesOf } from "./tree";
import "./traces.css";

export function TraceDetail() {
  const { t } = useI18n();
  const project = useProject();
  const { id = "" } = useParams();
  const trace = useGet<Trace>(`/projects/${project}/traces/${id}`);
  const back = { text: t("traces.title"), to: `/p/${project}/traces` };
  if (trace.isPending || trace.isError) {
    return (
      <Page title={t("traces.one")} back={back}>
        {trace.isPending ? <Skeleton active /> : <Trouble error={trace.error} retry={() => trace.refetch()} />}
      </Page>
    );
  }
  return (
    <Page title={t("traces.one")} back={back} lead={trace.data.opening} actions={<Forget trace={trace.data} />}>
      <Sums trace={trace.data} />
      <Steps key={trace.data.name} trace={trace.data} chosen={id} />
    </Page>
  );
}

function Sums({ trace }: { trace: Trace }) {
  const { t, language } = useI18n();
  const project = useProject();
  return (
    <Panel>
      <Facts
        rows={[
          [t("traces.began"), <Time value={trace.start_time} />],
          [t("traces.took"), formatMs(language, trace.duration_ms)],
          [t("traces.tokens"), <Num value={trace.total_tokens} />],
          [t("column.cost"), <Cost microusd={String(trace.cost_microusd)} />],
          [t("traces.errors"), trace.error_count ? <Num value={trace.error_count} /> : <Nothing />],
          [
            t("traces.session"),
            trace.session ? (
              <Link to={`/p/${project}/traces?session=${trace.session}`}>{trace.session.slice(0, 10)}…</Link>
            ) : (
              <Nothing />
            ),
          ],
          [t("column.id"), <Copyable value={lastPart(trace.name)} shown={lastPart(trace.name).slice(0, 8)} />],
        ]}
      />
    </Panel>
  );
}

/** The tree with its times on the left, the step that was chosen on the right. `chosen`: a completion's id, or none. */
function Steps({ trace, chosen }: { trace: Trace; chosen: string }) {
  const { t } = useI18n();
  const nodes = nodesOf(trace);
  const first = nodes.find(({ step }) => lastPart(step.name) === chosen) ?? nodes.find(({ step }) => step.completion);
  const [name, setName] = useState((first ?? nodes[0])?.step.name);
  const open = nodes.find(({ step }) => step.name === name)?.step;
  return (
    <div className="trace-panes">
      <Panel title={t("traces.steps")} flush>
        <ul className="trace-tree">
          {nodes.map((node) => (
            <li key={node.step.name}>
              <StepRow node={node} chosen={node.step.name === name} onChoose={() => setName(node.step.name)} />
            </li>
          ))}
        </ul>
      </Panel>
      {open && <StepView key={open.name} step={open} />}
    </div>
  );
}

function StepRow({ node, chosen, onChoose }: { node: Node; chosen: boolean; onChoose: () => void }) {
  const { word, language } = useI18n();
  const { step, depth, from, share } = node;
  const kind = bare(step.kind);
  return (
    <button
      type="button"
      className={`trace-step ${step.error ? "failed" : ""}`}
      aria-current={chosen}
      onClick={onChoose}
    >
      <span className="row" style={{ paddingInlineStart: depth * 16 }}>
        <span className="quiet">{word("step", kind)}</span>
        <span className="grow ellipsis">{step.title}</span>
        <span className="num quiet nowrap">{formatMs(language, step.duration_ms)}</span>
      </span>
      <span className="trace-time" aria-hidden>
        <i className={kind.toLowerCase()} style={{ left: `${from * 100}%`, width: `${share * 100}%` }} />
      </span>
    </button>
  );
}

function Forget({ trace }: { trace: Trace }) {
  const { t } = useI18n();
  const project = useProject();
  const navigate = useNavigate();
  const mayForget = useMay("REVIEWER");
  const ask = useAskToRemove();
  const forget = useChange(["inference_gateway", "traces"], () => remove(`/${trace.name}`));
  if (!mayForget) return null;
  const act = async () => {
    await forget.mutateAsync(undefined);
    navigate(`/p/${project}/traces`);
  };
  return (
    <Button danger onClick={() => ask.remove(t("traces.thisOne"), act)}>
      {t("action.delete")}
    </Button>
  );
}
