import { Button, Input, Skeleton } from "antd";
import { useEffect, useMemo, useRef, useState } from "react";
import { Link } from "react-router";
import { ApiError } from "@/api/client";
import { kindOf, pagePath, shortName } from "@/api/names";
import { useGet, useProject } from "@/api/queries";
import type { Lineage } from "@/api/types";
import { useI18n } from "@/i18n";
import { formatNumber, formatTime } from "@/i18n/format";
import { Empty } from "../Empty";
import { Trouble } from "../Trouble";
import { layOut, NODE, type Placed } from "./layout";
import "./lineage.css";

/** What led to `name`, and what came of it, now or as it was at a time that is chosen. */
export function LineageGraph({ name }: { name: string }) {
  const { t } = useI18n();
  const [time, setTime] = useState("");
  return (
    <div className="stack-s">
      <div className="row wrap">
        <label htmlFor="lineage-time">{t("lineage.asOf")}</label>
        <Input
          id="lineage-time"
          type="datetime-local"
          style={{ width: 220 }}
          value={time}
          onChange={(event) => setTime(event.target.value)}
        />
        {time && (
          <Button size="small" onClick={() => setTime("")}>
            {t("lineage.now")}
          </Button>
        )}
      </div>
      <Graph name={name} time={time && new Date(time).toISOString()} />
    </div>
  );
}

function Graph({ name, time }: { name: string; time: string }) {
  const { t, word, language } = useI18n();
  const project = useProject();
  const lineage = useGet<Lineage>(`/projects/${project}/lineage`, { name, time });
  const laid = useMemo(() => layOut(lineage.data ?? { nodes: [], edges: [], truncated: false }), [lineage.data]);
  const place = useRef<HTMLDivElement>(null);
  useEffect(() => {
    const here = laid.nodes.find((node) => node.name === name);
    if (here && place.current) place.current.scrollLeft = here.x - (place.current.clientWidth - NODE.width) / 2;
  }, [laid, name]);
  if (lineage.isPending) return <Skeleton active />;
  const wasNotThere = time && lineage.error instanceof ApiError && lineage.error.status === 404;
  if (wasNotThere) return <Empty title={t("lineage.notThen")} />;
  if (lineage.isError) return <Trouble error={lineage.error} retry={() => lineage.refetch()} />;
  if (!laid.nodes.length) return <Empty title={t("lineage.empty")} />;
  return (
    <>
      {/* biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls must be reachable by keyboard */}
      <div ref={place} className="lineage" tabIndex={0} role="group" aria-label={t("lineage.title")}>
        <div style={{ position: "relative", width: laid.width, height: laid.height }}>
          <svg width={laid.width} height={laid.height} aria-hidden>
            {laid.edges.map((edge) => (
              <path key={`${edge.source} ${edge.target} ${edge.relation}`} d={curve(edge.from, edge.to)}>
                <title>
                  {word("relation", edge.relation)}
                  {edge.weight_percent > 0 && ` · ${edge.weight_percent} %`}
                  {edge.time && ` · ${formatTime(language, edge.time)}`}
                </title>
              </path>
            ))}
          </svg>
          {laid.nodes.map((node) => (
            <Box key={node.name} node={node} here={node.name === name} />
          ))}
        </div>
      </div>
      {lineage.data.truncated && <p className="quiet">{t("lineage.truncated")}</p>}
    </>
  );
}

function Box({ node, here }: { node: Placed; here: boolean }) {
  const { word, language } = useI18n();
  const path = pagePath(node.name);
  const count = Number(node.count);
  const style = { left: node.x, top: node.y, width: NODE.width, height: NODE.height };
  const content = (
    <>
      <span className="quiet">{word("lineageKind", count ? node.kind : kindOf(node.name))}</span>
      <span className="ellipsis">{count ? formatNumber(language, count) : nodeTitle(node)}</span>
    </>
  );
  const className = here ? "lineage-node here" : "lineage-node";
  return path && !here ? (
    <Link to={path} className={className} style={style} title={node.name}>
      {content}
    </Link>
  ) : (
    <div className={className} style={style} title={node.name}>
      {content}
    </div>
  );
}

/** Ids say nothing to people and are cut, unless what they stand for has a name of its own. */
function nodeTitle(node: Placed): string {
  const name = shortName(node.name);
  return /[0-9A-HJKMNP-TV-Z]{26}$/.test(name) ? node.display_name || `…${name.slice(-6)}` : name;
}

function curve(from: Placed, to: Placed): string {
  const [x1, y1] = [from.x + NODE.width, from.y + NODE.height / 2];
  const [x2, y2] = [to.x, to.y + NODE.height / 2];
  const bend = Math.max(24, (x2 - x1) / 2);
  return `M${x1},${y1} C${x1 + bend},${y1} ${x2 - bend},${y2} ${x2},${y2}`;
}
