import { DownloadOutlined } from "@ant-design/icons";
import { Button } from "antd";
import { url } from "@/api/client";
import { lastPart, partOf } from "@/api/names";
import type { QueueStatistics } from "@/api/types";
import { useI18n } from "@/i18n";
import { formatDuration } from "@/i18n/format";
import { Empty } from "@/ui/Empty";
import { type Column, ResourceTable } from "@/ui/ResourceTable";
import { Nothing, Num } from "@/ui/values";

/** Milliseconds: waits grow without an event. */
const REFRESH = 30_000;

/** How long work waited for its first admission in a period, queue by queue. */
export function Waits({ start, within, everywhere }: { start: Date; within: string; everywhere: boolean }) {
  const { t } = useI18n();
  const path = `${within}/queue-statistics`;
  const params = { start_time: start.toISOString() };
  return (
    <ResourceTable<QueueStatistics>
      id="waits"
      path={path}
      field="queues"
      params={params}
      rowKey={(row) => row.queue}
      searchable={false}
      refetchInterval={REFRESH}
      columns={useColumns(everywhere)}
      tools={
        <>
          <strong style={{ order: -1, marginRight: 8 }}>{t("waits.title")}</strong>
          <Button icon={<DownloadOutlined aria-hidden />} href={url(`${path}.csv`, params)} download>
            {t("costs.csv")}
          </Button>
        </>
      }
      empty={<Empty title={t("queues.empty")} hint={t("queues.emptyHint")} />}
    />
  );
}

function useColumns(everywhere: boolean): Column<QueueStatistics>[] {
  const { t, language } = useI18n();
  const wait = (key: "mean" | "p50" | "p95" | "p99"): Column<QueueStatistics> => ({
    key,
    title: t(`waits.${key}`),
    align: "right",
    render: (row) =>
      Number(row.admission_count) > 0 ? (
        <span className="num nowrap">{formatDuration(language, row[`wait_${key}_seconds`])}</span>
      ) : (
        <Nothing />
      ),
  });
  const project: Column<QueueStatistics> = {
    key: "project",
    title: t("showback.by.project"),
    render: (row) => <span translate="no">{partOf(row.queue, "projects")}</span>,
  };
  return [
    ...(everywhere ? [project] : []),
    {
      key: "queue",
      title: t("showback.by.queue"),
      render: (row) => <span translate="no">{lastPart(row.queue)}</span>,
    },
    {
      key: "admissions",
      title: t("waits.admissions"),
      align: "right",
      render: (row) => <Num value={row.admission_count} />,
    },
    wait("mean"),
    wait("p50"),
    wait("p95"),
    wait("p99"),
    {
      key: "preempted",
      title: t("showback.preempted"),
      align: "right",
      render: (row) => <Num value={row.preemption_count} />,
    },
    {
      key: "waiting",
      title: t("waits.now"),
      align: "right",
      render: (row) => <Num value={row.waiting_count} />,
    },
    {
      key: "head",
      title: t("waits.head"),
      align: "right",
      render: (row) =>
        row.head_wait_seconds == null ? (
          <Nothing />
        ) : (
          <span className="num nowrap">{formatDuration(language, row.head_wait_seconds)}</span>
        ),
    },
  ];
}
