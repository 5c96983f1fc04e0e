import { Table } from "antd";
import { bare, shortName } from "@/api/names";
import type { Deployment, Target } from "@/api/types";
import { useI18n } from "@/i18n";
import { formatPercent } from "@/i18n/format";
import { useTheme } from "@/theme";
import { seriesColours } from "@/theme/palette";
import { Ref } from "@/ui/Id";
import { State } from "@/ui/State";
import { Nothing, Time } from "@/ui/values";

/** What a target is called: the variant that it serves, or where it already runs. */
function targetName(target: Target): string {
  return shortName(target.variant || target.model_version) || target.upstream_model || target.upstream_url;
}

/** Who gets which share of new requests, newest darkest. */
export function TrafficBar({ targets }: { targets: Target[] }) {
  const { t, language } = useI18n();
  const { palette } = useTheme();
  const shown = targets.filter((target) => target.weight_percent > 0);
  if (!shown.length) return <span className="quiet">{t("deployments.noTraffic")}</span>;
  const colours = seriesColours(palette, shown.length);
  return (
    <div className="traffic">
      <div className="traffic-bar" aria-hidden>
        {shown.map((target, index) => (
          <i key={target.id} style={{ flexGrow: target.weight_percent, background: colours[index] }} />
        ))}
      </div>
      <ul>
        {shown.map((target, index) => (
          <li key={target.id}>
            <i style={{ background: colours[index] }} aria-hidden />
            <span className="ellipsis">{targetName(target)}</span>
            <b className="num">{formatPercent(language, target.weight_percent / 100, 0)}</b>
          </li>
        ))}
      </ul>
    </div>
  );
}

export function Targets({ deployment }: { deployment: Deployment }) {
  const { t, word, language } = useI18n();
  return (
    <Table<Target>
      size="small"
      rowKey="id"
      dataSource={deployment.targets}
      pagination={false}
      locale={{ emptyText: t("deployments.noTargets") }}
      scroll={{ x: "max-content" }}
      columns={[
        {
          title: t("deployments.target"),
          render: (_, target) => (target.variant ? <Ref name={target.variant} /> : targetName(target)),
        },
        { title: t("deployments.engine"), render: (_, target) => word("engine", bare(target.engine)) },
        {
          title: t("deployments.share"),
          align: "right",
          render: (_, target) => {
            const percent = formatPercent(language, (target.shadow_percent || target.weight_percent) / 100, 0);
            return (
              <span className="num">{target.shadow_percent ? t("traffic.shadowShare", { percent }) : percent}</span>
            );
          },
        },
        {
          title: t("column.status"),
          render: (_, target) => <State value={target.state} why={target.failure_reason} />,
        },
        {
          title: t("deployments.address"),
          render: (_, target) =>
            target.address || target.upstream_url ? (
              <span className="mono">
                {target.address || target.upstream_url}
                {target.region && ` · ${target.region}`}
              </span>
            ) : (
              <Nothing />
            ),
        },
        { title: t("deployments.readySince"), render: (_, target) => <Time value={target.ready_time} /> },
      ]}
    />
  );
}
