import { Form, Input } from "antd";
import { useEffect, useState } from "react";
import { useSearchParams } from "react-router";
import { post } from "@/api/client";
import { lastPart, requestId } from "@/api/names";
import { useChange, useList, useProject } from "@/api/queries";
import type { Batch } from "@/api/types";
import { useI18n } from "@/i18n";
import { FormDrawer } from "@/ui/FormDrawer";
import { IdField } from "@/ui/IdField";
import { useMessage } from "@/ui/useMessage";

interface Values {
  dataset_id: string;
  display_name?: string;
}

/** All approved feedback that is free becomes two data set versions. */
export function BatchDrawer({ open, onClose }: { open: boolean; onClose: () => void }) {
  const { t } = useI18n();
  const message = useMessage();
  const project = useProject();
  const [, setAddress] = useSearchParams();
  const [request, setRequest] = useState(requestId);
  const last = useList<"batches", Batch>(`/projects/${project}/feedback-batches`, { page_size: 1 }).data?.batches[0];
  const create = useChange(["feedback", "dataset"], (values: Values) =>
    post<Batch>(`/projects/${project}/feedback-batches`, { ...values, request_id: request }),
  );
  useEffect(() => {
    if (open) setRequest(requestId());
  }, [open]);
  return (
    <FormDrawer<Values>
      open={open}
      onClose={onClose}
      title={t("batches.make")}
      lead={t("batches.lead")}
      submitText={t("batches.make")}
      initialValues={{ dataset_id: last ? lastPart(last.dataset) : "corrections" }}
      onSubmit={async (values) => {
        const batch = await create.mutateAsync(values);
        message.success(t("batches.made", { n: batch.count, count: batch.count }));
        setAddress({ view: "batches" }, { replace: true });
      }}
    >
      <IdField name="dataset_id" label={t("batches.dataset")} />
      <Form.Item name="display_name" label={t("form.name")}>
        <Input maxLength={120} />
      </Form.Item>
    </FormDrawer>
  );
}
