import { Button } from "antd";
import { post } from "@/api/client";
import { useChange, useMay } from "@/api/queries";
import type { ModelVersion, Variant } from "@/api/types";
import { useI18n } from "@/i18n";
import { useReport } from "@/ui/useConfirm";

/** Makes a variant of what a LoRA run added to its base; nothing to show where no run did, or it is there. */
export function AddAdapter({ version, have }: { version: ModelVersion; have: Variant[] }) {
  const { t } = useI18n();
  const mayAdd = useMay("ENGINEER");
  const report = useReport();
  const add = useChange(["model_registry", "gpu_scheduler"], () =>
    post<Variant>(`/${version.name}/variants`, { format: "FORMAT_GGUF_ADAPTER" }),
  );
  const wasTrained = version.parents?.run && version.parents.base_version;
  const own = have.filter((one) => one.format === "FORMAT_GGUF_ADAPTER" && !one.source);
  const isThere = own.some((one) => one.state !== "STATE_FAILED");
  if (!mayAdd || version.state !== "STATE_READY" || !wasTrained || isThere) return null;
  return (
    <Button size="small" loading={add.isPending} onClick={() => add.mutate(undefined, { onError: report })}>
      {t("adapter.make")}
    </Button>
  );
}
