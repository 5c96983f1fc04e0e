import { PlusOutlined } from "@ant-design/icons";
import { Button, Dropdown, Form } from "antd";
import { useState } from "react";
import { post } from "@/api/client";
import { useChange, useMay } from "@/api/queries";
import type { ModelVersion, Variant } from "@/api/types";
import { useI18n } from "@/i18n";
import { FormDrawer } from "@/ui/FormDrawer";
import { DatasetVersionPicker } from "@/ui/Pickers";
import { useReport } from "@/ui/useConfirm";
import { FOR_VLLM, GGUF, needsCalibration } from "./quantisations";

interface Wanted {
  quantisation: string;
  calibration?: string;
}

/** Quantises a version: at one click, or with the conversations that the quantisation needs. */
export function AddVariant({ version, have }: { version: ModelVersion; have: Variant[] }) {
  const { t } = useI18n();
  const mayAdd = useMay("ENGINEER");
  const report = useReport();
  const [calibrating, setCalibrating] = useState("");
  const add = useChange(["model_registry", "gpu_scheduler"], (wanted: Wanted) =>
    post<Variant>(`/${version.name}/variants`, wanted),
  );
  if (!mayAdd || version.state !== "STATE_READY") return null;
  const missing = (quantisations: string[]) =>
    quantisations
      .filter((one) => !have.some((variant) => variant.quantisation === one && !variant.calibration))
      .map((one) => ({ key: one, label: <span className="mono">{one}</span> }));
  const choose = (quantisation: string) =>
    needsCalibration(quantisation) ? setCalibrating(quantisation) : add.mutate({ quantisation }, { onError: report });
  return (
    <>
      <Dropdown
        trigger={["click"]}
        menu={{
          items: [
            ...missing(GGUF),
            { type: "group", key: "card", label: t("models.forVllm"), children: missing(FOR_VLLM) },
          ],
          onClick: ({ key }) => choose(key),
        }}
      >
        <Button size="small" icon={<PlusOutlined aria-hidden />} loading={add.isPending}>
          {t("models.quantise")}
        </Button>
      </Dropdown>
      <FormDrawer<{ calibration: string }>
        open={calibrating !== ""}
        onClose={() => setCalibrating("")}
        title={t("models.quantiseAs", { quantisation: calibrating })}
        lead={t("models.quantiseLead")}
        submitText={t("models.quantise")}
        onSubmit={async (values) => {
          await add.mutateAsync({ quantisation: calibrating, ...values });
        }}
      >
        <Form.Item
          name="calibration"
          label={t("quantisations.calibration")}
          rules={[{ required: true, message: t("form.required") }]}
        >
          <DatasetVersionPicker />
        </Form.Item>
      </FormDrawer>
    </>
  );
}
