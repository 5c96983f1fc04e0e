import { Segmented } from "antd";
import { useMemo, useState } from "react";
import { useGet, useProject } from "@/api/queries";
import type { TrafficFinding, TrafficFindings } from "@/api/types";
import { useI18n } from "@/i18n";
import { Trouble } from "@/ui/Trouble";
import { Num, Time } from "@/ui/values";
import "./access.css";

const DAYS = [1, 7, 30] as const;
const DAY_MS = 86_400_000;
/** Milliseconds: counts come every few seconds, and no event tells of them. */
const REFRESH = 5000;

/** What guardrails found lately, and how often the cache answered: counted also where no text is kept. */
export function Findings() {
  const { t } = useI18n();
  const project = useProject();
  const [days, setDays] = useState<number>(DAYS[0]);
  const start = useMemo(() => new Date(Date.now() - days * DAY_MS).toISOString(), [days]);
  const found = useGet<TrafficFindings>(
    `/projects/${project}/traffic-policy/findings`,
    { start_time: start },
    { refetchInterval: REFRESH },
  );
  const rows = found.data?.findings ?? [];
  return (
    <section className="stack-s" aria-label={t("guard.lately")}>
      <div className="row wrap">
        <strong className="grow">{t("guard.lately")}</strong>
        <Segmented<number>
          size="small"
          aria-label={t("guard.period")}
          value={days}
          onChange={setDays}
          options={DAYS.map((value) => ({ value, label: t("guard.days", { n: value }) }))}
        />
      </div>
      {found.isError ? (
        <Trouble error={found.error} retry={() => found.refetch()} />
      ) : (
        <>
          {found.isSuccess && !rows.length && <p className="quiet">{t("guard.nothingFound")}</p>}
          {rows.map((row) => (
            <Row key={`${row.what} ${row.action}`} row={row} />
          ))}
        </>
      )}
    </section>
  );
}

function Row({ row }: { row: TrafficFinding }) {
  const { word } = useI18n();
  const [where = "", rule = ""] = row.what.split(".");
  const ended = ["refuse", "failed_closed"].includes(row.action);
  return (
    <div className="finding">
      <span>
        {word("finding", where)}
        {rule && ` · ${word(`finding.${where}`, rule, word("finding.data", rule))}`}
      </span>
      <span className={ended ? "chip bad" : "chip"}>{word("found", row.action)}</span>
      <Num value={row.count} />
      <span className="quiet">
        <Time value={row.last_time} />
      </span>
    </div>
  );
}
