import { DeleteOutlined, PlusOutlined } from "@ant-design/icons";
import { Button, Checkbox, Form, Select } from "antd";
import { lastPart } from "@/api/names";
import { useList } from "@/api/queries";
import type { Flavor } from "@/api/types";
import { useI18n } from "@/i18n";
import { NumberInput } from "@/ui/NumberInput";

/** Amounts are to be given: a 0 that nobody meant would keep all work out. */
const EMPTY = { nominal: {}, limitBorrowing: false, limitLending: false };

/** The quotas of a cluster queue or cohort: one box for each flavor. */
export function QuotaFields() {
  const { t } = useI18n();
  const flavors = useList<"flavors", Flavor>("/flavors", { page_size: 200 });
  const options = (flavors.data?.flavors ?? []).map((one) => ({ value: one.name, label: lastPart(one.name) }));
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
                  rules={[{ required: true, message: t("form.required") }]}
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
              <Amounts path={[name, "nominal"]} />
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

function Amounts({ path }: { path: (string | number)[] }) {
  const { t } = useI18n();
  const rules = [{ required: true, message: t("form.required") }];
  return (
    <div className="quota-amounts">
      <Form.Item name={[...path, "cards"]} label={t("quotas.cards")} rules={rules}>
        <NumberInput min={0} max={1_000_000} precision={0} style={{ width: "100%" }} />
      </Form.Item>
      <Form.Item name={[...path, "cores"]} label={t("quotas.cores")} rules={rules}>
        <NumberInput min={0} max={2_000_000} style={{ width: "100%" }} />
      </Form.Item>
      <Form.Item name={[...path, "gigabytes"]} label={t("quotas.memory")} rules={rules}>
        <NumberInput min={0} max={9_000_000} style={{ width: "100%" }} />
      </Form.Item>
    </div>
  );
}
