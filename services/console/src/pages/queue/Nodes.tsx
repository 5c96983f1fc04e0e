import { Skeleton } from "antd";
import { bare, lastPart } from "@/api/names";
import { useList } from "@/api/queries";
import type { Card, Node } from "@/api/types";
import { useI18n } from "@/i18n";
import { formatBytes, formatNumber } from "@/i18n/format";
import { Empty } from "@/ui/Empty";
import { Panel } from "@/ui/Page";
import { State } from "@/ui/State";
import { Trouble } from "@/ui/Trouble";
import { Meter } from "./Meter";

/** Milliseconds; load changes without an event. */
const POLL = 5000;

export function Nodes() {
  const { t } = useI18n();
  const nodes = useList<"nodes", Node>("/nodes", { page_size: 200 }, { refetchInterval: POLL });
  return (
    <Panel title={t("nodes.title")} flush>
      {nodes.isPending ? (
        <div className="panel-body">
          <Skeleton active />
        </div>
      ) : nodes.isError ? (
        <div className="panel-body">
          <Trouble error={nodes.error} retry={() => nodes.refetch()} />
        </div>
      ) : nodes.data.nodes.length ? (
        nodes.data.nodes.map((node) => <NodeView key={node.name} node={node} />)
      ) : (
        <Empty title={t("nodes.empty")} hint={t("nodes.emptyHint")} />
      )}
    </Panel>
  );
}

function NodeView({ node }: { node: Node }) {
  const { t, language } = useI18n();
  const cores = (milli: number) => formatNumber(language, milli / 1000, 2);
  const capacity = node.capacity ?? { cpu_milli: 0, memory_bytes: "0", gpu: 0 };
  const allocated = node.allocated ?? { cpu_milli: 0, memory_bytes: "0", gpu: 0 };
  return (
    <article className="node">
      <header className="row">
        <strong className="grow" translate="no">
          {node.display_name || node.hostname} <span className="quiet">{lastPart(node.flavor)}</span>
        </strong>
        {node.simulated && <span className="chip wait">{t("nodes.simulated")}</span>}
        <State value={node.state} />
      </header>
      <div className="meters">
        <Meter
          label={t("nodes.cores")}
          used={allocated.cpu_milli}
          of={capacity.cpu_milli}
          text={`${cores(allocated.cpu_milli)} / ${cores(capacity.cpu_milli)}`}
        />
        <Meter
          label={t("nodes.memory")}
          used={Number(allocated.memory_bytes)}
          of={Number(capacity.memory_bytes)}
          text={`${formatBytes(Number(allocated.memory_bytes))} / ${formatBytes(Number(capacity.memory_bytes))}`}
        />
        <Meter
          label={t("nodes.load")}
          used={node.cpu_percent}
          of={100}
          text={`${formatNumber(language, node.cpu_percent)} %`}
        />
        <Meter
          label={t("nodes.memoryUsed")}
          used={Number(node.memory_used_bytes)}
          of={Number(capacity.memory_bytes)}
          text={formatBytes(Number(node.memory_used_bytes))}
        />
      </div>
      {node.cards.length > 0 ? (
        <div className="cards">
          {node.cards.map((card) => (
            <CardView key={card.name} card={card} />
          ))}
        </div>
      ) : (
        <p className="quiet">{t("nodes.noCards")}</p>
      )}
    </article>
  );
}

function CardView({ card }: { card: Card }) {
  const { t, language } = useI18n();
  const number = (value: number) => formatNumber(language, value);
  return (
    <div className={`card ${bare(card.state).toLowerCase()}`}>
      <div className="row">
        <span className="grow ellipsis" title={card.uuid} translate="no">
          {card.model || lastPart(card.name)}
        </span>
        {card.simulated && <span className="chip wait">{t("nodes.simulated")}</span>}
        <State value={card.state} />
      </div>
      <Meter
        label={t("nodes.utilisation")}
        used={card.utilisation_percent}
        of={100}
        text={`${number(card.utilisation_percent)} %`}
      />
      <Meter
        label={t("nodes.memory")}
        used={Number(card.memory_used_bytes)}
        of={Number(card.memory_bytes)}
        text={`${formatBytes(Number(card.memory_used_bytes))} / ${formatBytes(Number(card.memory_bytes))}`}
      />
      <div className="quiet num">
        {number(card.temperature_celsius)} °C · {number(card.power_watts)} W
        {card.link_group > 0 && ` · ${t("nodes.linkGroup", { group: card.link_group })}`}
        {card.mig_enabled && ` · ${t("nodes.mig")}`}
      </div>
      {card.fault_code && (
        <p className="chip bad" role="alert" translate="no" lang="en">
          <strong>{card.fault_code}</strong> {card.fault_message}
        </p>
      )}
      {card.warnings.map((text) => (
        <p key={text} className="quiet" translate="no" lang="en">
          {text}
        </p>
      ))}
    </div>
  );
}
