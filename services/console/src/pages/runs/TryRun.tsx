import { useQuery } from "@tanstack/react-query";
import { Button } from "antd";
import { useState } from "react";
import { get, post } from "@/api/client";
import { bare, requestId } from "@/api/names";
import { queryKey, useChange, useProject } from "@/api/queries";
import type { RunSpec, Try, TryReport, TrySide } from "@/api/types";
import { useI18n } from "@/i18n";
import { formatBytes, formatDuration, formatNumber, formatPercent } from "@/i18n/format";
import { type FactRows, Facts } from "@/ui/Page";
import { isOpen, State } from "@/ui/State";
import { Trouble } from "@/ui/Trouble";
import "./try.css";

/** Milliseconds; a try has no events. */
const POLL = 1000;

/** Ten steps of the run that the form describes, made before it is started. */
export function TryRun({ spec, name }: { spec: Partial<RunSpec>; name?: string }) {
  const { t } = useI18n();
  const project = useProject();
  const [made, setMade] = useState("");
  const start = useChange(["gpu_scheduler"], () =>
    post<Try>(`/projects/${project}/tries`, { spec, display_name: name, request_id: requestId() }),
  );
  const answer = useQuery({
    queryKey: queryKey(`/${made}`),
    queryFn: ({ signal }) => get<Try>(`/${made}`, {}, signal),
    enabled: Boolean(made),
    refetchInterval: ({ state }) => (!state.data || isOpen(state.data.state)) && POLL,
  });
  const found = made ? answer.data : undefined;
  const busy = start.isPending || Boolean(made && (!found || isOpen(found.state)));
  return (
    <section aria-label={t("try.title")}>
      <h3>{t("try.title")}</h3>
      <p className="second">{t("try.lead")}</p>
      <div className="row">
        <Button loading={busy} onClick={() => start.mutate(undefined, { onSuccess: (one) => setMade(one.name) })}>
          {found ? t("try.again") : t("try.start")}
        </Button>
        {found && <State value={found.state} why={found.waiting_reason || found.failure_reason} />}
      </div>
      {start.isError && <Trouble error={start.error} />}
      {answer.isError && <Trouble error={answer.error} retry={() => answer.refetch()} />}
      {found && bare(found.state) === "FAILED" && <code className="second">{found.failure_message}</code>}
      {found?.report && <Report of={found} report={found.report} />}
    </section>
  );
}

function Report({ of, report }: { of: Try; report: TryReport }) {
  const { t } = useI18n();
  return (
    <>
      <Figures of={of} report={report} />
      <p className="second try-note">{t("try.greyed")}</p>
      {report.samples.map((sample, at) => (
        // biome-ignore lint/suspicious/noArrayIndexKey: samples have no name but their place
        <figure key={at} className="try-sample">
          <figcaption>{t("try.sample", { n: at + 1 })}</figcaption>
          {Object.entries(sample.sides)
            .sort()
            .map(([side, its]) => (
              <Side key={side} name={side} of={its} alone={side === "text"} />
            ))}
        </figure>
      ))}
    </>
  );
}

function Side({ name, of, alone }: { name: string; of: TrySide; alone: boolean }) {
  const { word } = useI18n();
  return (
    <>
      {!alone && <div className="second">{word("try.side", name)}</div>}
      <pre>
        {of.pieces.map((piece, at) => (
          // biome-ignore lint/suspicious/noArrayIndexKey: pieces have no name but their place
          <span key={at} className={piece.loss ? undefined : "try-read"}>
            {piece.text}
          </span>
        ))}
      </pre>
    </>
  );
}

function Figures({ of, report }: { of: Try; report: TryReport }) {
  const { t, word, language } = useI18n();
  const { tokens, training_seconds: whole, step_seconds: later, peak_memory_bytes: peak, tokens_per_second } = report;
  const time = (seconds: number) => formatDuration(language, seconds);
  const number = (value: number, digits = 0) => formatNumber(language, value, digits);
  const first = time(report.first_step_seconds);
  const planned = of.estimate;
  const rows: FactRows = [
    [t("try.steps"), t("try.ofSteps", { done: report.steps, all: report.total_steps })],
    !!tokens && [
      t("try.tokens"),
      t("try.tokensValue", {
        p50: number(tokens.p50),
        p95: number(tokens.p95),
        max: number(tokens.max),
        cut: formatPercent(language, tokens.cut_share),
      }),
    ],
    [t("try.aStep"), later == null ? first : t("try.aStepValue", { later: time(later), first })],
    tokens_per_second != null && [t("try.speed"), number(tokens_per_second)],
    peak != null && [
      t("try.memory"),
      t("try.planned", {
        measured: formatBytes(Number(peak)),
        planned: formatBytes(Number(planned?.memory_bytes)),
      }),
    ],
    whole
      ? [
          t("try.whole"),
          t("try.wholeValue", {
            expected: time(whole.expected),
            low: time(whole.low),
            high: time(whole.high),
            planned: time(planned?.seconds ?? 0),
          }),
        ]
      : null,
    [t("try.losses"), report.losses.map((loss) => number(Number(loss), 4)).join("  ")],
    report.alarms.length > 0 && [
      t("run.alarms"),
      report.alarms.map(({ kind, step }) => (
        <div key={`${kind} ${step}`}>{t("run.alarmAt", { step, what: word("alarm", bare(kind)) })}</div>
      )),
    ],
  ];
  return <Facts rows={rows} list />;
}
