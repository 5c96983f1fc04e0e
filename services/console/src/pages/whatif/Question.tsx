import { Button, Form, type FormInstance, Select } from "antd";
import { lastPart } from "@/api/names";
import { useList } from "@/api/queries";
import type { Flavor, Node } from "@/api/types";
import { useI18n } from "@/i18n";
import { NumberInput } from "@/ui/NumberInput";
import { SkeletonRows } from "@/ui/ResourceTable";
import { Trouble } from "@/ui/Trouble";
import { POLICIES, type Typed } from "./figures";

const DAYS = [1, 7, 14, 31] as const;
const MOST_NODES = 1000;
const MOST_CARDS = 64;
const MOST_CORES = 10_000;
const PAGE = 500;

/** Which nodes to add, and what of the past to replay with them. */
export function Question({ busy, onAsk }: { busy: boolean; onAsk: (typed: Typed) => void }) {
  const flavors = useList<"flavors", Flavor>("/flavors", { page_size: PAGE });
  const nodes = useList<"nodes", Node>("/nodes", { page_size: PAGE });
  const failed = [flavors, nodes].find((one) => one.isError);
  if (failed) return <Trouble error={failed.error} retry={() => failed.refetch()} />;
  if (!flavors.data || !nodes.data) return <SkeletonRows columns={6} rows={1} />;
  return <Fields flavors={flavors.data.flavors} nodes={nodes.data.nodes} busy={busy} onAsk={onAsk} />;
}

interface FieldsProps {
  flavors: Flavor[];
  nodes: Node[];
  busy: boolean;
  onAsk: (typed: Typed) => void;
}

function Fields({ flavors, nodes, busy, onAsk }: FieldsProps) {
  const { t } = useI18n();
  const [form] = Form.useForm<Typed>();
  const nodesOf = (flavor: string) => nodes.filter((node) => node.flavor === flavor);
  const cardsOf = (flavor: string) => Math.max(0, ...nodesOf(flavor).map((node) => node.cards.length));
  const byCards = [...nodes].sort((one, other) => other.cards.length - one.cards.length);
  const first = byCards[0]?.flavor ?? flavors[0]?.name ?? "";
  const needsCores = ({ getFieldsValue }: FormInstance<Typed>) => {
    const { nodes, flavor, cards } = getFieldsValue();
    return !!nodes && !cards && nodesOf(flavor).length === 0;
  };
  const asksNothing = ({ getFieldsValue }: FormInstance<Typed>) => {
    const { nodes, removals } = getFieldsValue();
    return !nodes && removals.length === 0;
  };
  const leavesNothing = ({ getFieldsValue }: FormInstance<Typed>) => {
    const typed = getFieldsValue();
    return !typed.nodes && nodes.length > 0 && typed.removals.length >= nodes.length;
  };
  const required = { required: true, message: t("form.required") };
  return (
    <Form<Typed>
      form={form}
      layout="vertical"
      requiredMark={false}
      className="whatif-fields"
      initialValues={{ nodes: 1, flavor: first, cards: cardsOf(first), cores: null, removals: [], days: 7, policy: "" }}
      onFinish={onAsk}
    >
      <Form.Item
        name="nodes"
        label={t("whatif.nodes")}
        dependencies={["removals"]}
        rules={[(typed) => isFalse(asksNothing, typed, t("whatif.askSomething"))]}
      >
        <NumberInput min={0} max={MOST_NODES} precision={0} />
      </Form.Item>
      <Form.Item name="flavor" label={t("whatif.flavor")} rules={[required]}>
        <Select
          onChange={(flavor: string) => form.setFieldValue("cards", cardsOf(flavor))}
          options={flavors.map((one) => ({
            value: one.name,
            label: <span translate="no">{one.display_name || lastPart(one.name)}</span>,
          }))}
        />
      </Form.Item>
      <Form.Item name="cards" label={t("whatif.cards")}>
        <NumberInput min={0} max={MOST_CARDS} precision={0} />
      </Form.Item>
      <Form.Item
        name="cores"
        label={t("whatif.cores")}
        dependencies={["flavor", "cards"]}
        rules={[(typed) => ({ required: needsCores(typed as FormInstance<Typed>), message: t("whatif.coresNeeded") })]}
      >
        <NumberInput min={0} max={MOST_CORES} placeholder={t("whatif.likeLargest")} />
      </Form.Item>
      <Form.Item
        name="removals"
        label={t("whatif.removals")}
        dependencies={["nodes"]}
        rules={[(typed) => isFalse(leavesNothing, typed, t("whatif.leaveOne"))]}
        className="whatif-removals"
      >
        <Select
          mode="multiple"
          maxCount={MOST_NODES}
          placeholder={t("whatif.noRemovals")}
          options={nodes.map((one) => ({
            value: one.name,
            label: <span translate="no">{one.display_name || lastPart(one.name)}</span>,
          }))}
        />
      </Form.Item>
      <Form.Item name="days" label={t("whatif.days")}>
        <Select options={DAYS.map((value) => ({ value, label: t("whatif.lastDays", { n: value }) }))} />
      </Form.Item>
      <Form.Item name="policy" label={t("whatif.policy")}>
        <Select
          options={[
            { value: "", label: t("whatif.usual") },
            ...POLICIES.map((value) => ({ value, label: <span translate="no">{value}</span> })),
          ]}
        />
      </Form.Item>
      <Button type="primary" htmlType="submit" loading={busy}>
        {t("whatif.ask")}
      </Button>
    </Form>
  );
}

/** A rule that `wrong` breaks, of more than one field. */
function isFalse(wrong: (form: FormInstance<Typed>) => boolean, form: unknown, message: string) {
  return {
    validator: () => (wrong(form as FormInstance<Typed>) ? Promise.reject(new Error(message)) : Promise.resolve()),
  };
}
