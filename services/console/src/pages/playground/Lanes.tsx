import { CloseOutlined, PlusOutlined } from "@ant-design/icons";
import { Button, Select } from "antd";
import type { Deployment } from "@/api/types";
import { useI18n } from "@/i18n";
import { State } from "@/ui/State";
import { type Lane, MOST_MODELS } from "./address";
import { choicesOf, deploymentOf } from "./models";

/** Which models are asked: one to four. */
export function Lanes({
  lanes,
  deployments,
  onChange,
}: {
  lanes: readonly Lane[];
  deployments: readonly Deployment[];
  onChange: (lanes: Lane[]) => void;
}) {
  const { t } = useI18n();
  const choices = choicesOf(deployments);
  const add = () => {
    const next = choices.find((one) => lanes.every((lane) => lane.model !== one.value)) ?? choices[0];
    const last = lanes.at(-1);
    if (next && last) onChange([...lanes, { ...last, model: next.value }]);
  };
  return (
    <>
      {lanes.map((lane, at) => {
        const deployment = deploymentOf(deployments, lane.model);
        return (
          // biome-ignore lint/suspicious/noArrayIndexKey: the same model may be asked twice, with other settings
          <div key={at} className="lane">
            {deployment && <State value={deployment.state} why={deployment.failure_reason} />}
            <Select<string>
              showSearch={{ optionFilterProp: "label" }}
              aria-label={lanes.length > 1 ? t("playground.modelNumber", { n: at + 1 }) : t("playground.deployment")}
              value={lane.model}
              options={choices}
              popupMatchSelectWidth={false}
              onChange={(model) => onChange(lanes.map((one, index) => (index === at ? { ...one, model } : one)))}
            />
            {lanes.length > 1 && (
              <Button
                type="text"
                size="small"
                icon={<CloseOutlined aria-hidden />}
                aria-label={t("playground.removeModel", { what: lane.model })}
                onClick={() => onChange(lanes.filter((_, index) => index !== at))}
              />
            )}
          </div>
        );
      })}
      {lanes.length < MOST_MODELS && (
        <Button icon={<PlusOutlined aria-hidden />} onClick={add}>
          {t("playground.addModel")}
        </Button>
      )}
    </>
  );
}
