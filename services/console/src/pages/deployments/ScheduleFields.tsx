import { DeleteOutlined, PlusOutlined } from "@ant-design/icons";
import { Button, Form, Input, Select } from "antd";
import type { ScheduleWindow, ScheduleWindowDay } from "@/api/types";
import { useI18n } from "@/i18n";
import { NumberInput } from "@/ui/NumberInput";
import { MOST_REPLICAS, useMostRule } from "./bounds";

const DAYS: ScheduleWindowDay[] = [
  "DAY_MONDAY",
  "DAY_TUESDAY",
  "DAY_WEDNESDAY",
  "DAY_THURSDAY",
  "DAY_FRIDAY",
  "DAY_SATURDAY",
  "DAY_SUNDAY",
];
const MONDAY = Date.UTC(2024, 0, 1);
const CLOCK = /^(([01]\d|2[0-3]):[0-5]\d|24:00)$/;
const OFFICE: ScheduleWindow = {
  days: DAYS.slice(0, 5),
  start: "08:00",
  end: "20:00",
  min_replicas: 1,
  max_replicas: 1,
};

/** Hours of the week in which other bounds hold, by the clocks of a time zone. */
export function ScheduleFields() {
  const { t, language } = useI18n();
  const rules = [{ required: true, message: t("form.required") }];
  const clock = [{ pattern: CLOCK, message: t("schedule.clockRule") }, ...rules];
  const name = new Intl.DateTimeFormat(language, { weekday: "short", timeZone: "UTC" });
  const days = DAYS.map((value, index) => ({ value, label: name.format(MONDAY + index * 86_400_000) }));
  const zones = ["UTC", ...Intl.supportedValuesOf("timeZone").filter((zone) => zone !== "UTC")];
  const mostRule = useMostRule();
  const given: unknown[] | undefined = Form.useWatch("windows");
  return (
    <div className="stack-s">
      <strong>{t("schedule.title")}</strong>
      <p className="quiet">{t("schedule.hint")}</p>
      {given && given.length > 0 && (
        <Form.Item name="time_zone" required label={t("schedule.timeZone")} rules={rules}>
          <Select showSearch options={zones.map((value) => ({ value, label: value }))} />
        </Form.Item>
      )}
      <Form.List name="windows">
        {(fields, { add, remove }) => (
          <>
            {fields.map(({ key, name: row }) => (
              <div key={key} className="schedule-row">
                <div className="row">
                  <Form.Item name={[row, "days"]} required label={t("schedule.days")} rules={rules} className="grow">
                    <Select mode="multiple" options={days} />
                  </Form.Item>
                  <Button
                    type="text"
                    icon={<DeleteOutlined aria-hidden />}
                    aria-label={t("schedule.remove")}
                    onClick={() => remove(row)}
                  />
                </div>
                <div className="schedule-amounts">
                  <Form.Item name={[row, "start"]} required label={t("schedule.start")} rules={clock}>
                    <Input maxLength={5} />
                  </Form.Item>
                  <Form.Item
                    name={[row, "end"]}
                    required
                    label={t("schedule.end")}
                    tooltip={t("schedule.endHint")}
                    rules={clock}
                  >
                    <Input maxLength={5} />
                  </Form.Item>
                  <Form.Item name={[row, "min_replicas"]} required label={t("deployments.minReplicas")} rules={rules}>
                    <NumberInput min={0} max={MOST_REPLICAS} precision={0} />
                  </Form.Item>
                  <Form.Item
                    name={[row, "max_replicas"]}
                    required
                    label={t("deployments.maxReplicas")}
                    dependencies={[["windows", row, "min_replicas"]]}
                    rules={[...rules, mostRule(["windows", row, "min_replicas"])]}
                  >
                    <NumberInput min={1} max={MOST_REPLICAS} precision={0} />
                  </Form.Item>
                </div>
              </div>
            ))}
            <Button icon={<PlusOutlined aria-hidden />} onClick={() => add(OFFICE)}>
              {t("schedule.add")}
            </Button>
          </>
        )}
      </Form.List>
    </div>
  );
}
