import { DownloadOutlined } from "@ant-design/icons";
import { Button, Segmented } from "antd";
import { useSearchParams } from "react-router";
import { url } from "@/api/client";
import { lastPart } from "@/api/names";
import type { CapacityEfficiency, EfficiencyRow, ListReply } from "@/api/types";
import { useI18n } from "@/i18n";
import { formatDuration, formatNumber, formatPercent } from "@/i18n/format";
import { Empty } from "@/ui/Empty";
import { type Column, ResourceTable } from "@/ui/ResourceTable";
import { withParam } from "@/ui/Search";
import { Nothing } from "@/ui/values";
import "@/ui/progress.css";

const BY = ["flavor", "node"] as const;
type By = (typeof BY)[number];
const PATH = "/efficiency";
/** Milliseconds: what is held grows without an event. */
const REFRESH = 30_000;

/** How well the machines were used in a period, by flavor or by node, by all projects together. */
export function Efficiency({ start }: { start: Date }) {
  const { t } = useI18n();
  const [address, setAddress] = useSearchParams();
  const by: By = BY.find((one) => one === address.get("machines")) ?? "flavor";
  const params = { by: `BY_${by.toUpperCase()}`, start_time: start.toISOString() };
  return (
    <ResourceTable<EfficiencyRow>
      id="machines"
      path={PATH}
      field="rows"
      params={params}
      rowKey={(row) => row[by]}
      searchable={false}
      refetchInterval={REFRESH}
      columns={useColumns(by, start)}
      tools={
        <>
          <strong style={{ order: -1, marginRight: 8 }}>{t("efficiency.title")}</strong>
          <Segmented<By>
            aria-label={t("showback.by")}
            value={by}
            onChange={(value) =>
              setAddress((before) => withParam(withParam(before, "machines", value), "machines.order", ""), {
                replace: true,
              })
            }
            options={BY.map((value) => ({ value, label: t(`efficiency.by.${value}`) }))}
          />
          <Button icon={<DownloadOutlined aria-hidden />} href={url(`${PATH}.csv`, params)} download>
            {t("costs.csv")}
          </Button>
        </>
      }
      note={(reply) => <Total report={reply as ListReply & CapacityEfficiency} />}
      empty={<Empty title={t("cluster.noHistory")} hint={t("cluster.noHistoryHint")} />}
    />
  );
}

function Total({ report }: { report: CapacityEfficiency }) {
  const { t, language } = useI18n();
  const share = (value?: number | null) => (value == null ? "–" : formatPercent(language, value));
  const total = report.total;
  return (
    <div className="quiet panel-body">
      <p>
        {t("efficiency.total", { cards: share(total?.card_utilisation), cores: share(total?.core_utilisation) })}{" "}
        {(total?.simulated_card_capacity_seconds ?? 0) > 0 && t("cluster.simulatedPart")}
      </p>
      {report.fragmentation != null && (
        <p>
          {t("efficiency.fragmentation", {
            free: formatDuration(language, report.free_card_seconds),
            stranded: formatDuration(language, report.stranded_card_seconds),
            share: share(report.fragmentation),
          })}
        </p>
      )}
    </div>
  );
}

function useColumns(by: By, start: Date): Column<EfficiencyRow>[] {
  const { t, language } = useI18n();
  const seconds = (Date.now() - start.getTime()) / 1000;
  const of = (kind: "card" | "core"): Column<EfficiencyRow>[] => [
    {
      key: `${kind}s`,
      title: t(`efficiency.${kind}s`),
      sort: `${kind}_capacity_seconds`,
      align: "right",
      render: (row) => <Amount value={row[`${kind}_capacity_seconds`] / seconds} />,
    },
    {
      key: `${kind}_held`,
      title: t(`efficiency.${kind}Held`),
      sort: `${kind}_held_seconds`,
      align: "right",
      render: (row) =>
        row[`${kind}_held_seconds`] > 0 ? (
          <span className="num nowrap">{formatDuration(language, row[`${kind}_held_seconds`])}</span>
        ) : (
          <Nothing />
        ),
    },
    {
      key: `${kind}_utilisation`,
      title: t(`efficiency.${kind}Utilisation`),
      sort: `${kind}_utilisation`,
      width: 170,
      render: (row) => <Utilisation value={row[`${kind}_utilisation`]} label={lastPart(row[by])} />,
    },
  ];
  return [
    {
      key: by,
      title: t(`efficiency.by.${by}`),
      sort: by,
      render: (row) => <span translate="no">{lastPart(row[by])}</span>,
    },
    ...of("card"),
    ...of("core"),
  ];
}

/** So many of them on average; nothing of what there is none. */
function Amount({ value }: { value: number }) {
  const { language } = useI18n();
  if (!value) return <Nothing />;
  return <span className="num">{formatNumber(language, value, value < 10 ? 2 : 0)}</span>;
}

function Utilisation({ value, label }: { value?: number | null; label: string }) {
  const { language } = useI18n();
  if (value == null) return <Nothing />;
  const text = formatPercent(language, value);
  return (
    <div className="progress-line">
      <div
        className="progress live"
        role="meter"
        aria-label={label}
        aria-valuemin={0}
        aria-valuemax={Math.max(1, value)}
        aria-valuenow={value}
        aria-valuetext={text}
      >
        <i style={{ width: `${100 * Math.min(value, 1)}%` }} />
      </div>
      <span className="num nowrap">{text}</span>
    </div>
  );
}
