import { Table } from "antd";
import { type ReactNode, useDeferredValue, useId, useMemo, useState } from "react";
import { useGet, useProject } from "@/api/queries";
import { useI18n } from "@/i18n";
import { formatCost, formatNumber, formatPercent } from "@/i18n/format";
import { useTheme } from "@/theme";
import { Plot } from "@/ui/chart/Plot";
import { NumberInput } from "@/ui/NumberInput";
import { Panel } from "@/ui/Page";
import { SkeletonRows } from "@/ui/ResourceTable";
import { Trouble } from "@/ui/Trouble";
import { colours, frame } from "./chart";
import { MONTH_HOURS, ownStairs, reach, rentedLine } from "./staircase";

/** As GET /projects/{p}/rentOrOwn says it; money in millionths of a US dollar, tokens in a month. */
interface Answer {
  days: number;
  utilisation: number;
  input_tokens: number;
  output_tokens: number;
  typed_traffic: boolean;
  rented: {
    name: string;
    typed: boolean;
    input_price_microusd: number;
    output_price_microusd: number;
    month_microusd: number;
  }[];
  owned: {
    name: string;
    typed: boolean;
    flavor: string;
    hour_microusd: number;
    tokens_per_second: number;
    capacity_tokens: number;
    machines: number;
    month_microusd: number;
    break_even: { rented: string; output_tokens: number | null }[];
  }[];
}

/** What somebody typed; empty fields say nothing. Tokens in millions a month, prices in dollars. */
interface Typed {
  days: number;
  utilisation: number;
  tokensIn: number | null;
  tokensOut: number | null;
  priceIn: number | null;
  priceOut: number | null;
  hourPrice: number | null;
  speed: number | null;
}

const NOTHING: Typed = {
  days: 30,
  utilisation: 50,
  tokensIn: null,
  tokensOut: null,
  priceIn: null,
  priceOut: null,
  hourPrice: null,
  speed: null,
};

const HEIGHT = 320;

/** The same traffic rented and on own machines, and where the two meet. */
export function RentOrOwn() {
  const { t } = useI18n();
  const project = useProject();
  const [typed, setTyped] = useState(NOTHING);
  const asked = useDeferredValue(typed);
  const found = useGet<Answer>(`/projects/${project}/rentOrOwn`, paramsOf(asked));
  return (
    <Panel title={t("rent.title")}>
      <div className="stack">
        <p className="second">{t("rent.lead")}</p>
        <Fields typed={typed} onChange={setTyped} />
        {found.isError ? (
          <Trouble error={found.error} retry={() => found.refetch()} />
        ) : found.data ? (
          <Found answer={found.data} />
        ) : (
          <SkeletonRows columns={4} rows={3} />
        )}
      </div>
    </Panel>
  );
}

function paramsOf(typed: Typed) {
  const million = (value: number | null) => (value === null ? undefined : value * 1e6);
  const micro = (dollars: number | null) => (dollars === null ? undefined : Math.round(dollars * 1e6));
  return {
    days: typed.days,
    utilisation: typed.utilisation / 100,
    input_tokens: million(typed.tokensIn),
    output_tokens: million(typed.tokensOut),
    input_price_microusd: micro(typed.priceIn),
    output_price_microusd: micro(typed.priceOut),
    hour_price_microusd: micro(typed.hourPrice),
    tokens_per_second: typed.speed || undefined,
  };
}

function Fields({ typed, onChange }: { typed: Typed; onChange: (typed: Typed) => void }) {
  const { t } = useI18n();
  const field = (name: keyof Typed, label: string, more: { min?: number; max?: number; prefix?: ReactNode } = {}) => (
    <Field
      label={label}
      value={typed[name]}
      onChange={(value) => onChange({ ...typed, [name]: value ?? NOTHING[name] })}
      {...more}
    />
  );
  return (
    <div className="rent-fields">
      <fieldset>
        <legend>{t("rent.traffic")}</legend>
        {field("days", t("rent.days"), { min: 1, max: 400 })}
        {field("tokensIn", t("rent.tokensIn"))}
        {field("tokensOut", t("rent.tokensOut"))}
      </fieldset>
      <fieldset>
        <legend>{t("rent.rented")}</legend>
        {field("priceIn", t("rent.priceIn"), { prefix: "$" })}
        {field("priceOut", t("rent.priceOut"), { prefix: "$" })}
      </fieldset>
      <fieldset>
        <legend>{t("rent.own")}</legend>
        {field("hourPrice", t("rent.hourPrice"), { prefix: "$" })}
        {field("speed", t("rent.speed"))}
        {field("utilisation", t("rent.utilisation"), { min: 1, max: 100 })}
      </fieldset>
    </div>
  );
}

function Field({
  label,
  value,
  onChange,
  ...more
}: {
  label: string;
  value: number | null;
  onChange: (value: number | null) => void;
  min?: number;
  max?: number;
  prefix?: ReactNode;
}) {
  const id = useId();
  return (
    <div className="setting">
      <label htmlFor={id}>{label}</label>
      <NumberInput id={id} min={0} value={value} onChange={onChange} {...more} />
    </div>
  );
}

function Found({ answer }: { answer: Answer }) {
  const { t, language } = useI18n();
  const million = (tokens: number) => formatNumber(language, tokens / 1e6, tokens < 1e7 ? 3 : 0);
  const name = (one: { name: string; typed: boolean }) => (one.typed ? t("rent.typed") : one.name);
  const lines = [
    ...answer.rented.map((one) => ({
      key: `rent ${one.name}`,
      kind: t("rent.rented"),
      what: name(one),
      how: t("rent.prices", {
        input: formatCost(language, one.input_price_microusd),
        output: formatCost(language, one.output_price_microusd),
      }),
      month: one.month_microusd,
      meets: "",
    })),
    ...answer.owned.map((one) => ({
      key: `own ${one.name} ${one.flavor}`,
      kind: t("rent.own"),
      what: name(one),
      how: t("rent.machine", {
        n: one.machines,
        price: formatCost(language, one.hour_microusd),
        speed: formatNumber(language, one.tokens_per_second, 1),
      }),
      month: one.month_microusd,
      meets: one.break_even
        .map((each) =>
          each.output_tokens === null
            ? t("rent.never", { what: each.rented === "typed" ? t("rent.typed") : each.rented })
            : t("rent.from", {
                what: each.rented === "typed" ? t("rent.typed") : each.rented,
                tokens: million(each.output_tokens),
              }),
        )
        .join("\n"),
    })),
  ].sort((one, other) => one.month - other.month);
  return (
    <>
      <p>
        {t(answer.typed_traffic ? "rent.trafficTyped" : "rent.trafficSeen", {
          input: million(answer.input_tokens),
          output: million(answer.output_tokens),
          days: answer.days,
          utilisation: formatPercent(language, answer.utilisation),
        })}
      </p>
      {lines.length > 0 && (
        <Table
          size="small"
          dataSource={lines}
          pagination={false}
          scroll={{ x: "max-content" }}
          columns={[
            { title: t("rent.way"), dataIndex: "kind" },
            { title: t("rent.what"), dataIndex: "what" },
            { title: t("rent.how"), dataIndex: "how", className: "second" },
            {
              title: t("rent.month"),
              align: "right",
              render: (_, line) => <b className="num">{formatCost(language, line.month)}</b>,
            },
            { title: t("rent.meets"), dataIndex: "meets", className: "pre-line" },
          ]}
        />
      )}
      {answer.rented.length === 0 && <p className="quiet">{t("rent.noPrice")}</p>}
      {answer.owned.length === 0 && <p className="quiet">{t("rent.noMachine")}</p>}
      {answer.rented.length > 0 && answer.owned.length > 0 && <Crossing answer={answer} name={name} />}
    </>
  );
}

function Crossing({ answer, name }: { answer: Answer; name: (one: { name: string; typed: boolean }) => string }) {
  const { t, language } = useI18n();
  const { palette } = useTheme();
  const option = useMemo(() => {
    const money = (value: number) => formatCost(language, value);
    const tokens = (value: number) => formatNumber(language, value / 1e6, 2);
    const until = reach(
      answer.output_tokens,
      answer.owned.flatMap((own) => own.break_even.map((each) => each.output_tokens)),
    );
    const inputShare = answer.output_tokens ? answer.input_tokens / answer.output_tokens : 0;
    const paint = colours(palette);
    const line = { type: "line", animation: false, symbol: "none" };
    const renting = answer.rented.map((one, at) => ({
      ...line,
      name: name(one),
      data: rentedLine(one, inputShare, until).points,
      lineStyle: { width: 2, type: "dashed", color: paint[(answer.owned.length + at) % paint.length] },
      itemStyle: { color: paint[(answer.owned.length + at) % paint.length] },
    }));
    const owning = answer.owned.map((one, at) => ({
      ...line,
      name: name(one),
      data: ownStairs(one, until).points,
      lineStyle: { width: 2, color: paint[at % paint.length] },
      itemStyle: { color: paint[at % paint.length] },
    }));
    const look = frame(palette, money);
    return {
      ...look,
      grid: { ...look.grid, bottom: 44 },
      tooltip: { show: false },
      xAxis: {
        type: "value",
        min: 0,
        max: until,
        name: t("rent.axis"),
        nameLocation: "middle",
        nameGap: 26,
        nameTextStyle: { color: palette.ink2 },
        axisLabel: { color: palette.ink3, fontSize: 11, formatter: tokens, hideOverlap: true },
        splitLine: { show: false },
      },
      series: [
        ...renting,
        ...owning,
        {
          ...line,
          name: t("rent.now"),
          data: answer.rented.slice(0, 1).map((one) => [answer.output_tokens, one.month_microusd]),
          symbol: "circle",
          symbolSize: 10,
          itemStyle: { color: palette.ink },
        },
        {
          type: "scatter",
          animation: false,
          name: t("rent.meeting"),
          symbol: "diamond",
          symbolSize: 14,
          itemStyle: { color: palette.bad },
          data: answer.owned.flatMap((own) =>
            own.break_even.flatMap((each) =>
              each.output_tokens === null ? [] : [[each.output_tokens, own.hour_microusd * MONTH_HOURS]],
            ),
          ),
        },
      ],
    };
  }, [answer, name, language, palette, t]);
  return <Plot option={option} height={HEIGHT} caption={t("rent.caption")} />;
}
