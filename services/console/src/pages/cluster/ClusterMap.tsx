import { Select, Tooltip } from "antd";
import { type ReactNode, useState } from "react";
import { bare, lastPart } from "@/api/names";
import { useList } from "@/api/queries";
import type { Card, Flavor, Node } from "@/api/types";
import { useI18n } from "@/i18n";
import { formatBytes, formatNumber } from "@/i18n/format";
import { Empty } from "@/ui/Empty";
import { Ref } from "@/ui/Id";
import { Panel } from "@/ui/Page";
import { Pager, usePages } from "@/ui/Pager";
import { SkeletonRows } from "@/ui/ResourceTable";
import { State } from "@/ui/State";
import { Trouble } from "@/ui/Trouble";
import { Time } from "@/ui/values";
import { NodeActions } from "./NodeActions";

/** Milliseconds; load changes without an event. */
const POLL = 5000;
const PAGE_SIZE = 100;
const MOST_CORES = 64;
const MOST_FLAVORS = 500;
const STATES = ["READY", "CORDONED", "DRAINING", "FENCING", "LOST"] as const;
const USES = ["free", "held", "releasing", "sick", "gone"] as const;
type Use = (typeof USES)[number];
const USE_OF: Record<string, Use> = { FREE: "free", BUSY: "held", RELEASING: "releasing", SICK: "sick" };

interface Wanted {
  flavor: string;
  state: string;
}

/** Every node as a box, every card as a tile in it; a node without cards shows its cores. */
export function ClusterMap() {
  const { t } = useI18n();
  const [wanted, setWanted] = useState<Wanted>({ flavor: "", state: "" });
  const filter = filterOf(wanted);
  const pages = usePages(`nodes ${filter}`);
  const nodes = useList<"nodes", Node>(
    "/nodes",
    { filter, page_size: PAGE_SIZE, page_token: pages.token, order_by: "name" },
    { refetchInterval: POLL },
  );
  const rows = nodes.data?.nodes ?? [];
  return (
    <Panel title={t("cluster.map")} extra={<Filters wanted={wanted} onChange={setWanted} />}>
      {nodes.isError ? (
        <Trouble error={nodes.error} retry={() => nodes.refetch()} />
      ) : nodes.isPending ? (
        <SkeletonRows columns={4} rows={3} />
      ) : rows.length === 0 ? (
        filter ? (
          <Empty title={t("cluster.noneSuch")} hint={t("cluster.noneSuchHint")} />
        ) : (
          <Empty title={t("nodes.empty")} hint={t("nodes.emptyHint")} />
        )
      ) : (
        <div className="stack">
          <Legend />
          <ul className="map">
            {rows.map((node) => (
              <NodeBox key={node.name} node={node} />
            ))}
          </ul>
          {Number(nodes.data.total_size) > PAGE_SIZE && (
            <Pager
              pages={pages}
              shown={rows.length}
              pageSize={PAGE_SIZE}
              next={nodes.data.next_page_token}
              total={Number(nodes.data.total_size)}
            />
          )}
        </div>
      )}
    </Panel>
  );
}

function filterOf({ flavor, state }: Wanted): string {
  return [flavor && `flavor=${flavor}`, state && `state=${state}`].filter(Boolean).join(" AND ");
}

function Filters({ wanted, onChange }: { wanted: Wanted; onChange: (wanted: Wanted) => void }) {
  const { t, word } = useI18n();
  const flavors = useList<"flavors", Flavor>("/flavors", { page_size: MOST_FLAVORS });
  const known = (flavors.data?.flavors ?? []).map((one) => ({
    value: one.name,
    label: <span translate="no">{one.display_name || lastPart(one.name)}</span>,
  }));
  return (
    <div className="row wrap">
      <Select
        aria-label={t("cluster.flavor")}
        value={wanted.flavor}
        onChange={(flavor) => onChange({ ...wanted, flavor })}
        popupMatchSelectWidth={false}
        options={[{ value: "", label: t("cluster.anyFlavor") }, ...known]}
      />
      <Select
        aria-label={t("cluster.state")}
        value={wanted.state}
        onChange={(state) => onChange({ ...wanted, state })}
        popupMatchSelectWidth={false}
        options={[
          { value: "", label: t("cluster.anyState") },
          ...STATES.map((value) => ({ value, label: word("state", value) })),
        ]}
      />
    </div>
  );
}

function Legend() {
  const { t } = useI18n();
  return (
    <ul className="row wrap map-legend" aria-label={t("cluster.legend")}>
      {USES.map((use) => (
        <li key={use} className="row">
          <i className={`tile ${use}`} aria-hidden />
          <span className="quiet">{t(`cluster.${use}`)}</span>
        </li>
      ))}
    </ul>
  );
}

function NodeBox({ node }: { node: Node }) {
  const { t } = useI18n();
  return (
    <li className={`map-node ${bare(node.state).toLowerCase()}`}>
      <header className="row">
        <strong className="grow ellipsis" translate="no" title={node.name}>
          {node.display_name || node.hostname}
        </strong>
        {node.simulated && <span className="chip wait">{t("nodes.simulated")}</span>}
        <State value={node.state} />
      </header>
      <div className="quiet" translate="no">
        {lastPart(node.flavor)}
      </div>
      <div className="tiles">{node.cards.length ? node.cards.map(cardTile) : <Cores node={node} />}</div>
      {bare(node.state) === "LOST" && (
        <div className="quiet">
          {t("cluster.lastSeen")} <Time value={node.last_seen_time} ago />
        </div>
      )}
      <NodeActions node={node} />
    </li>
  );
}

function cardTile(card: Card) {
  return <CardTile key={card.name} card={card} />;
}

function CardTile({ card }: { card: Card }) {
  const { t, word, language } = useI18n();
  const use = USE_OF[bare(card.state)] ?? "gone";
  const held = use === "held" || use === "releasing";
  const place = `${lastPart(card.name.replace(/\/cards\/.*/, ""))} · ${lastPart(card.name)}`;
  const state = word("state", bare(card.state));
  return (
    <Tile
      use={use}
      simulated={card.simulated}
      label={`${t("cluster.card", { n: lastPart(card.name) })}: ${state}${card.simulated ? `, ${t("nodes.simulated")}` : ""}`}
      fill={use === "held" ? 0.45 + (0.55 * card.utilisation_percent) / 100 : 1}
    >
      <strong>{card.model || place}</strong> {card.simulated && <span>({t("nodes.simulated")})</span>}
      <div>
        {place} · {state}
      </div>
      {held && <div>{card.workload ? <Ref name={card.workload} /> : t("cluster.foreign")}</div>}
      {card.fault_code && (
        <div lang="en" translate="no">
          {card.fault_code}: {card.fault_message}
        </div>
      )}
      <div className="num">
        {formatNumber(language, card.utilisation_percent)} % · {formatBytes(Number(card.memory_used_bytes))} /{" "}
        {formatBytes(Number(card.memory_bytes))}
      </div>
    </Tile>
  );
}

/** One tile a core; what is held of them fills from the left. */
function Cores({ node }: { node: Node }) {
  const { t, language } = useI18n();
  const used = (node.allocated?.cpu_milli ?? 0) / 1000;
  const all = (node.capacity?.cpu_milli ?? 0) / 1000;
  const shown = Math.min(Math.ceil(all), MOST_CORES);
  const gone = bare(node.state) === "LOST";
  const text = t("cluster.cores", { used: formatNumber(language, used, 2), all: formatNumber(language, all, 2) });
  return Array.from({ length: shown }, (_, at) => at).map((at) => {
    const share = Math.max(0, Math.min(1, used * (shown / Math.max(all, 1)) - at));
    const label = t("cluster.core", { n: at + 1 });
    return (
      <Tile
        key={at}
        use={gone ? "gone" : share > 0 ? "held" : "free"}
        simulated={node.simulated}
        fill={share > 0 ? 0.45 + 0.55 * share : 1}
        label={`${label}: ${t(gone ? "cluster.gone" : share > 0 ? "cluster.held" : "cluster.free")}`}
      >
        {text}
      </Tile>
    );
  });
}

function Tile({
  use,
  fill,
  label,
  simulated,
  children,
}: {
  use: Use;
  fill: number;
  label: string;
  simulated: boolean;
  children: ReactNode;
}) {
  return (
    <Tooltip title={children}>
      <button
        type="button"
        className={simulated ? `tile ${use} simulated` : `tile ${use}`}
        style={{ opacity: fill }}
        aria-label={label}
      />
    </Tooltip>
  );
}
