import { Alert } from "antd";
import { bare } from "@/api/names";
import { useGet } from "@/api/queries";
import type { Alarm, Run } from "@/api/types";
import { useI18n } from "@/i18n";
import { formatNumber } from "@/i18n/format";
import { Panel } from "@/ui/Page";
import { isOpen } from "@/ui/State";
import { Trouble } from "@/ui/Trouble";
import { Time } from "@/ui/values";

/** Milliseconds; an alarm comes with an event too, which a lost connection would hide. */
const POLL = 10_000;

/** What was wrong with the run, newest first; nothing where nothing was. */
export function Alarms({ run }: { run: Run }) {
  const { t } = useI18n();
  const list = useGet<{ alarms: Alarm[] }>(
    `/${run.name}/alarms`,
    { page_size: 100 },
    { refetchInterval: isOpen(run.state) && POLL },
  );
  const alarms = [...(list.data?.alarms ?? [])].reverse();
  if (list.isError) return <Trouble error={list.error} retry={() => list.refetch()} />;
  if (!alarms.length) return null;
  return (
    <Panel title={t("run.alarms")}>
      <div className="stack-s">
        {alarms.map((alarm) => (
          <OneAlarm key={alarm.name} alarm={alarm} />
        ))}
      </div>
    </Panel>
  );
}

function OneAlarm({ alarm }: { alarm: Alarm }) {
  const { t, word, language } = useI18n();
  const { value, limit, back_to } = alarm.values;
  const ended = bare(alarm.action) === "STOP";
  return (
    <Alert
      type={ended ? "error" : "warning"}
      showIcon
      title={
        <span className="row">
          <span className="grow">{t("run.alarmAt", { step: alarm.step, what: word("alarm", bare(alarm.kind)) })}</span>
          <Time value={alarm.create_time} />
        </span>
      }
      description={
        <>
          <div>{word("alarmAction", bare(alarm.action))}</div>
          {value !== undefined && limit !== undefined && (
            <div className="second">
              {t("run.alarmMeasured", {
                value: formatNumber(language, value, 4),
                limit: formatNumber(language, limit, 4),
              })}
            </div>
          )}
          {back_to !== undefined && <div className="second">{t("run.alarmBack", { step: back_to })}</div>}
          {alarm.detail && <code className="second">{alarm.detail}</code>}
        </>
      }
    />
  );
}
