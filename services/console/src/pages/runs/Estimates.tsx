import { useQuery } from "@tanstack/react-query";
import { Table, Tooltip } from "antd";
import { useEffect, useState } from "react";
import { post } from "@/api/client";
import { lastPart } from "@/api/names";
import { useProject } from "@/api/queries";
import type { Estimate, FlavorEstimate, MemoryPart, RunSpec, SettingChoice } from "@/api/types";
import { useI18n } from "@/i18n";
import { formatBytes, formatCost, formatDuration, formatNumber } from "@/i18n/format";
import { useTell } from "@/ui/Trouble";
import { useSettingNames } from "./settings";

/** What the planner expects of a run, asked as the form is filled in. */
export function useEstimate(spec?: Partial<RunSpec>) {
  const project = useProject();
  const asked = JSON.parse(useSettled(JSON.stringify(spec ?? {}), 500)) as Partial<RunSpec>;
  const ready = Boolean(asked.base && asked.datasets?.length && asked.method);
  const answer = useQuery({
    queryKey: ["estimate", project, asked],
    queryFn: () => post<Estimate>(`/projects/${project}/runs:estimate`, { spec: asked }),
    enabled: ready,
    retry: false,
  });
  return { ready, estimate: answer.data, error: answer.error };
}

type Asked = ReturnType<typeof useEstimate>;

/** One line: of the flavor that would be taken. */
export function EstimateNote({ ready, estimate, error }: Asked) {
  const { t, language } = useI18n();
  const tell = useTell();
  if (!ready) return null;
  if (error) return <span style={{ color: "var(--bad)" }}>{tell(error).title}</span>;
  if (!estimate) return <span className="quiet">{t("runs.estimating")}</span>;
  const { seconds, memory_bytes, cost_microusd, steps } = estimate;
  return (
    <span className="num">
      {t("runs.estimate", {
        n: steps,
        steps,
        time: formatDuration(language, seconds),
        memory: formatBytes(Number(memory_bytes)),
        cost: formatCost(language, Number(cost_microusd)),
      })}
    </span>
  );
}

/** A row for each flavor: memory, time and cost, or why it does not fit; below it what the planner changed. */
export function FlavorTable({ estimate }: Asked) {
  const { t, language } = useI18n();
  if (!estimate) return null;
  return (
    <section aria-label={t("plan.title")}>
      <h3>{t("plan.title")}</h3>
      <Table<FlavorEstimate>
        size="small"
        pagination={false}
        rowKey="flavor"
        dataSource={estimate.flavors}
        columns={[
          { title: t("plan.flavor"), render: (_, one) => <Flavor of={one} /> },
          { title: t("plan.memory"), render: (_, one) => <Memory of={one} /> },
          { title: t("plan.time"), render: (_, one) => one.fits && formatDuration(language, one.seconds) },
          { title: t("plan.cost"), render: (_, one) => one.fits && formatCost(language, Number(one.cost_microusd)) },
          {
            title: t("plan.speed"),
            render: (_, one) => one.fits && formatNumber(language, one.tokens_per_second),
          },
        ]}
      />
      {estimate.choices.length > 0 && <Choices of={estimate.choices} />}
    </section>
  );
}

function Flavor({ of }: { of: FlavorEstimate }) {
  const { t, word } = useI18n();
  const marks = [of.fastest && t("plan.fastest"), of.cheapest && t("plan.cheapest")].filter(Boolean);
  const why = [word("planReason", of.reason, ""), of.remedy && word("planChoice", of.remedy.reason)].filter(Boolean);
  return (
    <div>
      <span className="mono">{lastPart(of.flavor)}</span>
      {marks.length > 0 && <span className="choice-hint">{marks.join(" · ")}</span>}
      {!of.fits && (
        <span className="choice-hint" style={{ color: "var(--bad)" }}>
          {why.join(" ")}
        </span>
      )}
    </div>
  );
}

function Memory({ of }: { of: FlavorEstimate }) {
  const { t } = useI18n();
  if (!Number(of.memory_bytes)) return null;
  const amounts = { needed: formatBytes(Number(of.memory_bytes)), available: formatBytes(Number(of.available_bytes)) };
  return (
    <Tooltip title={of.parts.length > 0 && <Parts of={of.parts} />}>
      <span className="num">{t("plan.of", amounts)}</span>
    </Tooltip>
  );
}

function Parts({ of }: { of: MemoryPart[] }) {
  const { word } = useI18n();
  return (
    <>
      {of.map((part) => (
        <div key={part.term}>
          {word("memory", part.term)}: {formatBytes(Number(part.bytes))}
        </div>
      ))}
    </>
  );
}

function Choices({ of }: { of: SettingChoice[] }) {
  const { t, word } = useI18n();
  const title = useSettingNames();
  return (
    <>
      <p>{t("plan.changed")}</p>
      <ul>
        {of.map((choice) => (
          <li key={choice.setting}>
            {title(choice.setting)}: <span className="num">{word("yesNo", choice.value)}</span>.{" "}
            {word("planChoice", choice.reason)}
          </li>
        ))}
      </ul>
    </>
  );
}

function useSettled(value: string, milliseconds: number): string {
  const [settled, setSettled] = useState(value);
  useEffect(() => {
    const timer = window.setTimeout(() => setSettled(value), milliseconds);
    return () => window.clearTimeout(timer);
  }, [value, milliseconds]);
  return settled;
}
