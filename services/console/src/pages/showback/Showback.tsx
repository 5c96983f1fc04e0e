import { DownloadOutlined } from "@ant-design/icons";
import { useQuery } from "@tanstack/react-query";
import { Button, Segmented, Select } from "antd";
import { useCallback, useMemo } from "react";
import { useSearchParams } from "react-router";
import { get, url } from "@/api/client";
import { bare, lastPart, partOf } from "@/api/names";
import { queryKey, useProject, useSession } from "@/api/queries";
import type { ApiKey, CapacityUsage, CapacityUsageRow, ListReply } from "@/api/types";
import { type PlainKey, useI18n } from "@/i18n";
import { formatCost, formatDuration } from "@/i18n/format";
import { Actor } from "@/ui/Actor";
import { Empty } from "@/ui/Empty";
import { Page, Panel } from "@/ui/Page";
import { type Column, ResourceTable } from "@/ui/ResourceTable";
import { Cost, Num } from "@/ui/values";
import { Efficiency } from "./Efficiency";
import { ShowbackChart } from "./ShowbackChart";
import { GROUPS, type Group, MEASURES, type Measure } from "./showback";
import { Waits } from "./Waits";

const PERIODS = [7, 30, 90] as const;
const DAY_MS = 86_400_000;
/** Milliseconds: what is held grows without an event. */
const REFRESH = 30_000;

/** Who held what of own machines, and what that cost. */
export function Showback() {
  const { t, word, language } = useI18n();
  const project = useProject();
  const mayAll = useSession().data?.all_projects ?? false;
  const [address, setAddress] = useSearchParams();
  const set = (name: string, value: string | number) =>
    setAddress(
      (before) => {
        const after = new URLSearchParams(before);
        after.set(name, String(value));
        after.delete("order");
        return after;
      },
      { replace: true },
    );
  const days = PERIODS.find((one) => String(one) === address.get("days")) ?? 30;
  const everywhere = mayAll && address.get("scope") === "all";
  const chosen = (address.get("by") ?? "").split(",");
  const named = GROUPS.filter((one) => chosen.includes(one));
  const groups: Group[] = named.length ? named : everywhere ? ["project", "user"] : ["user", "queue"];
  const measure = MEASURES.find((one) => one === address.get("of")) ?? "cost_microusd";
  const period = usePeriod(days);
  const path = everywhere ? "/capacity-usage" : `/projects/${project}/capacity-usage`;
  const params = { group_by: groups.join(","), start_time: period.start.toISOString() };
  const keys = useKeys(project);
  const label = useCallback(
    (group: Group, value: string) => {
      if (!value) return t("showback.unknown");
      if (group === "kind") return word("kind", bare(value));
      const isKey = group === "user" && partOf(value, "keys") !== "";
      return keys.get(value) ?? (isKey ? `…${value.slice(-6)}` : lastPart(value));
    },
    [t, word, keys],
  );
  return (
    <Page
      title={t("showback.title")}
      lead={t("showback.lead")}
      actions={
        <>
          {mayAll && (
            <Segmented
              aria-label={t("showback.scope")}
              value={everywhere ? "all" : "own"}
              onChange={(value) => set("scope", value)}
              options={[
                { value: "own", label: t("showback.own") },
                { value: "all", label: t("showback.everywhere") },
              ]}
            />
          )}
          <Segmented
            aria-label={t("costs.period")}
            value={days}
            onChange={(value) => set("days", value)}
            options={PERIODS.map((value) => ({ value, label: t("costs.days", { n: value }) }))}
          />
          <Button icon={<DownloadOutlined aria-hidden />} href={url(`${path}.csv`, params)} download>
            {t("costs.csv")}
          </Button>
        </>
      }
    >
      <Panel
        title={t(`showback.by.${groups[0] ?? "user"}` as PlainKey)}
        extra={
          <Segmented<Measure>
            size="small"
            aria-label={t("costs.measure")}
            value={measure}
            onChange={(value) => set("of", value)}
            options={MEASURES.map((value) => ({ value, label: t(`showback.of.${value}` as PlainKey) }))}
          />
        }
      >
        <ShowbackChart path={path} {...period} group={groups[0] ?? "user"} measure={measure} label={label} />
      </Panel>
      <ResourceTable<CapacityUsageRow>
        path={path}
        field="rows"
        params={params}
        rowKey={(row) => groups.map((group) => row[group]).join(" ")}
        searchable={false}
        refetchInterval={REFRESH}
        columns={useColumns(groups, label)}
        tools={
          <Select<Group[]>
            mode="multiple"
            aria-label={t("showback.by")}
            value={groups}
            onChange={(value) => set("by", value.join(","))}
            style={{ minWidth: 320 }}
            options={GROUPS.map((value) => ({ value, label: t(`showback.by.${value}` as PlainKey) }))}
          />
        }
        note={(reply) => {
          const { total } = reply as unknown as CapacityUsage;
          const spent = {
            held: formatDuration(language, total?.held_seconds ?? 0),
            cards: formatDuration(language, total?.card_seconds ?? 0),
            cost: formatCost(language, Number(total?.cost_microusd ?? 0)),
          };
          return <p className="quiet panel-body">{t("showback.total", spent)}</p>;
        }}
        empty={<Empty title={t("showback.empty")} hint={t("showback.emptyHint")} />}
      />
      <Efficiency start={period.start} />
      <Waits start={period.start} within={everywhere ? "" : `/projects/${project}`} everywhere={everywhere} />
    </Page>
  );
}

function useColumns(
  groups: readonly Group[],
  label: (group: Group, value: string) => string,
): Column<CapacityUsageRow>[] {
  const { t, language } = useI18n();
  const time = (key: "held_seconds" | "core_seconds" | "card_seconds", title: string) => ({
    key,
    title,
    sort: key,
    align: "right" as const,
    render: (row: CapacityUsageRow) => <span className="num nowrap">{formatDuration(language, row[key])}</span>,
  });
  return [
    ...groups.map((group) => ({
      key: group,
      title: t(`showback.by.${group}` as PlainKey),
      sort: group,
      render: (row: CapacityUsageRow) =>
        group === "user" && row.user ? (
          <Actor value={row.user} />
        ) : (
          <span translate={group === "kind" ? undefined : "no"} title={row[group]}>
            {label(group, row[group])}
          </span>
        ),
    })),
    time("held_seconds", t("showback.held")),
    time("core_seconds", t("showback.of.core_seconds")),
    time("card_seconds", t("showback.of.card_seconds")),
    {
      key: "attempt_count",
      title: t("showback.attempts"),
      sort: "attempt_count",
      align: "right",
      render: (row) => <Num value={row.attempt_count} />,
    },
    {
      key: "preemption_count",
      title: t("showback.preempted"),
      sort: "preemption_count",
      align: "right",
      render: (row) => <Num value={row.preemption_count} />,
    },
    {
      key: "cost_microusd",
      title: t("showback.of.cost_microusd"),
      sort: "cost_microusd",
      align: "right",
      render: (row) => <Cost microusd={row.cost_microusd} />,
    },
  ];
}

/** Titles of the project's keys by name; none for who may not list them. */
function useKeys(project: string): ReadonlyMap<string, string> {
  const path = `/projects/${project}/keys`;
  const params = { page_size: 500 };
  const { data } = useQuery({
    queryKey: queryKey(path, params),
    queryFn: ({ signal }) => get<ListReply & { keys: ApiKey[] }>(path, params, signal),
    staleTime: 60_000,
    retry: false,
  });
  return useMemo(
    () => new Map((data?.keys ?? []).map((key) => [key.name, key.display_name || `${key.prefix}…`])),
    [data],
  );
}

/** The last so many days of UTC, today with them; the same object until the choice changes. */
function usePeriod(days: number) {
  return useMemo(() => {
    const end = new Date();
    const start = new Date(end.getTime() - (days - 1) * DAY_MS);
    start.setUTCHours(0, 0, 0, 0);
    return { start, end };
  }, [days]);
}
