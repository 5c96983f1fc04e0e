import { Form, Input, Select } from "antd";
import { useRef } from "react";
import { useNavigate } from "react-router";
import { post } from "@/api/client";
import { lastPart } from "@/api/names";
import { useChange, useProject } from "@/api/queries";
import type { Checkpoint, Hyperparameters, Run } from "@/api/types";
import { useI18n } from "@/i18n";
import { FormDrawer, More } from "@/ui/FormDrawer";
import { useMessage } from "@/ui/useMessage";
import { HyperparameterFields } from "./Hyperparameters";

interface Values {
  step: number;
  display_name?: string;
  hyperparameters: Hyperparameters;
}

interface Props {
  run: Run;
  checkpoints: Checkpoint[];
  open: boolean;
  onClose: () => void;
}

/** The server takes the newest when it is asked: a run that goes on may have dropped what was the newest here. */
const LATEST = 0;

/** A new run out of a checkpoint of this one. The rank of its adapters stays: the weights have that shape. */
export function ForkDrawer({ run, checkpoints, open, onClose }: Props) {
  const { t } = useI18n();
  const message = useMessage();
  const project = useProject();
  const navigate = useNavigate();
  const request = useRef("");
  const fork = useChange(["training_scheduler"], (body: object) => post<Run>(`/${run.name}:fork`, body));
  const { lora_rank: _, ...changeable } = run.spec?.hyperparameters ?? {};
  const submit = async (values: Values) => {
    request.current ||= crypto.randomUUID();
    const made = await fork.mutateAsync({ ...values, request_id: request.current });
    request.current = "";
    message.success(t("runs.started", { n: made.number }));
    navigate(`/p/${project}/runs/${lastPart(made.name)}`);
  };
  return (
    <FormDrawer<Values>
      open={open}
      onClose={onClose}
      title={t("run.forkTitle")}
      lead={t("run.forkLead")}
      submitText={t("run.fork")}
      onSubmit={submit}
      initialValues={{ step: LATEST, hyperparameters: changeable }}
    >
      <Form.Item name="step" label={t("run.checkpoint")} rules={[{ required: true }]}>
        <Select
          options={[
            { value: LATEST, label: t("run.latestCheckpoint") },
            ...checkpoints.map(({ step }) => ({ value: step, label: t("run.atStep", { step }) })),
          ]}
        />
      </Form.Item>
      <HyperparameterFields method={run.spec?.method} of={changeable} main under={["hyperparameters"]} />
      <Form.Item name="display_name" label={t("column.name")}>
        <Input maxLength={200} />
      </Form.Item>
      <More title={t("run.hyperparameters")}>
        <HyperparameterFields method={run.spec?.method} of={changeable} main={false} under={["hyperparameters"]} />
      </More>
    </FormDrawer>
  );
}
