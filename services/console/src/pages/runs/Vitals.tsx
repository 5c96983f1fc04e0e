import type { Run } from "@/api/types";
import { type Language, useI18n } from "@/i18n";
import { durationSeconds, formatBytes, formatCost, formatDuration, formatNumber, formatPercent } from "@/i18n/format";
import { Panel } from "@/ui/Page";
import { ProgressBar } from "@/ui/ProgressBar";
import { isOpen } from "@/ui/State";

/** How far a run is, how fast, what it holds, what it costs, and when it will end. */
export function Vitals({ run }: { run: Run }) {
  return (
    <Panel>
      <Figures run={run} />
      <div style={{ marginTop: 12 }}>
        <ProgressBar done={run.step} total={run.total_steps} live={isOpen(run.state)} bare />
      </div>
      <Remarks run={run} />
    </Panel>
  );
}

function Figures({ run }: { run: Run }) {
  const { t, language } = useI18n();
  const remaining = durationSeconds(run.eta);
  const { tokens_per_second: speed, memory_bytes: memory } = run.metrics;
  const utilisation = run.model_flops_utilisation;
  const figures: [string, string][] = [
    [
      t("run.step"),
      run.total_steps ? `${formatNumber(language, run.step)} / ${formatNumber(language, run.total_steps)}` : "–",
    ],
    [t("run.loss"), run.loss == null ? "–" : formatNumber(language, run.loss, 4)],
    [t("run.remaining"), remaining === undefined ? "–" : formatDuration(language, remaining)],
    [t("curve.tokens_per_second"), speed ? formatNumber(language, speed, 0) : "–"],
    ...(utilisation == null
      ? []
      : [[t("run.utilisation"), formatPercent(language, utilisation, 0)] satisfies [string, string]]),
    [t("curve.memory_bytes"), memory ? formatBytes(memory) : "–"],
    [t("run.elapsed"), elapsed(language, run)],
    [t("column.cost"), formatCost(language, Number(run.cost_microusd))],
  ];
  return (
    <dl className="facts">
      {figures.map(([label, value]) => (
        <div key={label}>
          <dt>{label}</dt>
          <dd className="figure-big">{value}</dd>
        </div>
      ))}
    </dl>
  );
}

function Remarks({ run }: { run: Run }) {
  const { t, word, language } = useI18n();
  const [low, high] = [durationSeconds(run.eta_low), durationSeconds(run.eta_high)];
  const remarks = [
    low !== undefined &&
      high !== undefined &&
      t("run.remainingBetween", { low: formatDuration(language, low), high: formatDuration(language, high) }),
    run.eta != null && low === undefined && t("run.remainingGuess"),
    run.expected_cost_microusd != null &&
      t("run.expectedCost", { cost: formatCost(language, Number(run.expected_cost_microusd)) }),
    run.stopped_early && t("run.stoppedEarly", { step: run.step }),
    run.waiting_reason && word("reason", run.waiting_reason),
    run.resumed_from_step > 0 && t("run.resumed", { attempt: run.attempt, step: run.resumed_from_step }),
  ].filter((remark): remark is string => Boolean(remark));
  return remarks.map((remark) => (
    <p key={remark} className="second" style={{ marginTop: 10 }}>
      {remark}
    </p>
  ));
}

function elapsed(language: Language, run: Run): string {
  if (!run.start_time) return "–";
  const end = run.end_time ? new Date(run.end_time).getTime() : Date.now();
  return formatDuration(language, Math.max(0, (end - new Date(run.start_time).getTime()) / 1000));
}
