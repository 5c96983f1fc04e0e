import { DeleteOutlined, PlusOutlined } from "@ant-design/icons";
import { Button, Checkbox, Form, Select } from "antd";
import { lastPart } from "@/api/names";
import { useList } from "@/api/queries";
import type { Flavor, Node } from "@/api/types";
import { useI18n } from "@/i18n";
import { formatNumber } from "@/i18n/format";
import { NumberInput } from "@/ui/NumberInput";
import { type AmountValues, capacityOf, type QuotaValues } from "./quotas";

/** Amounts are to be given: a 0 that nobody meant would keep all work out. */
const EMPTY = { nominal: {}, limitBorrowing: false, limitLending: false };

const MOST_NODES = 500;

/** The quotas of a cluster queue or cohort: one box for each flavor. */
export function QuotaFields() {
  const { t } = useI18n();
  const flavors = useList<"flavors", Flavor>("/flavors", { page_size: 200 });
  const nodes = useList<"nodes", Node>("/nodes", { page_size: MOST_NODES });
  const given: QuotaValues[] | undefined = Form.useWatch("quotas");
  const options = (flavors.data?.flavors ?? []).map((one) => ({ value: one.name, label: lastPart(one.name) }));
  // Of nodes on further pages nothing is known here; the server decides.
  const has = nodes.data && !nodes.data.next_page_token ? capacityOf(nodes.data.nodes) : null;
  const mostOf = (row: number) => has?.get(given?.[row]?.flavor ?? "");
  return (
    <Form.List name="quotas">
      {(fields, { add, remove }) => (
        <div className="stack-s">
          <strong>{t("quotas.flavors")}</strong>
          {fields.length === 0 && <p className="quiet">{t("quotas.noneGiven")}</p>}
          {fields.map(({ key, name }) => (
            <div key={key} className="quota-row">
              <div className="row">
                <Form.Item
                  name={[name, "flavor"]}
                  label={t("quotas.flavor")}
                  rules={[
                    { required: true, message: t("form.required") },
                    (form) => onlyOnce(form.getFieldValue("quotas"), t("quotas.flavorTwice")),
                  ]}
                  className="grow"
                >
                  <Select options={options} loading={flavors.isPending} placeholder={t("picker.choose")} />
                </Form.Item>
                <Button
                  type="text"
                  icon={<DeleteOutlined aria-hidden />}
                  aria-label={t("quotas.removeFlavor")}
                  onClick={() => remove(name)}
                />
              </div>
              <div className="quiet">{t("quotas.nominal")}</div>
              <Amounts path={[name, "nominal"]} most={mostOf(name)} />
              <Bound row={name} limit="limitBorrowing" amounts="borrowing" />
              <Bound row={name} limit="limitLending" amounts="lending" />
            </div>
          ))}
          <Button icon={<PlusOutlined aria-hidden />} onClick={() => add(EMPTY)}>
            {t("quotas.addFlavor")}
          </Button>
        </div>
      )}
    </Form.List>
  );
}

interface BoundProps {
  row: number;
  limit: "limitBorrowing" | "limitLending";
  amounts: "borrowing" | "lending";
}

/** A limit that need not be there; its amounts show when it is. */
function Bound({ row, limit, amounts }: BoundProps) {
  const { t } = useI18n();
  const isLimited: unknown = Form.useWatch(["quotas", row, limit]);
  return (
    <div>
      <Form.Item name={[row, limit]} valuePropName="checked" noStyle>
        <Checkbox>{t(`quotas.${limit}`)}</Checkbox>
      </Form.Item>
      {isLimited === true && (
        <>
          <div className="quiet">{t(`quotas.${amounts}`)}</div>
          <Amounts path={[row, amounts]} />
        </>
      )}
    </div>
  );
}

/** `most`: what there is at all of each, where that is known. */
function Amounts({ path, most }: { path: (string | number)[]; most?: AmountValues }) {
  const { t, language } = useI18n();
  const rulesOf = (kind: keyof AmountValues) => {
    const bound = most?.[kind];
    const message = t("quotas.overCapacity", { n: formatNumber(language, bound ?? 0, 2) });
    const isWithin = (value?: number | null) => bound == null || value == null || value <= bound;
    return [
      { required: true, message: t("form.required") },
      {
        validator: (_: unknown, value?: number | null) =>
          isWithin(value) ? Promise.resolve() : Promise.reject(new Error(message)),
      },
    ];
  };
  return (
    <div className="quota-amounts">
      <Form.Item name={[...path, "cards"]} label={t("quotas.cards")} rules={rulesOf("cards")}>
        <NumberInput min={0} max={1_000_000} precision={0} style={{ width: "100%" }} />
      </Form.Item>
      <Form.Item name={[...path, "cores"]} label={t("quotas.cores")} rules={rulesOf("cores")}>
        <NumberInput min={0} max={2_000_000} style={{ width: "100%" }} />
      </Form.Item>
      <Form.Item name={[...path, "gigabytes"]} label={t("quotas.memory")} rules={rulesOf("gigabytes")}>
        <NumberInput min={0} max={9_000_000} style={{ width: "100%" }} />
      </Form.Item>
    </div>
  );
}

/** A rule of a flavor: no two rows are of the same. */
function onlyOnce(rows: readonly (QuotaValues | undefined)[], message: string) {
  return {
    validator: (_: unknown, flavor?: string) =>
      flavor && rows.filter((row) => row?.flavor === flavor).length > 1
        ? Promise.reject(new Error(message))
        : Promise.resolve(),
  };
}
