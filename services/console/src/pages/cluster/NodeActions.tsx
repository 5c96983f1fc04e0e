import { Button } from "antd";
import { post } from "@/api/client";
import { bare } from "@/api/names";
import { useChange } from "@/api/queries";
import type { Node } from "@/api/types";
import { useI18n } from "@/i18n";
import { OperatorButton } from "@/pages/queues/operator";
import { useConfirm, useReport } from "@/ui/useConfirm";
import { useMessage } from "@/ui/useMessage";

type Verb = "cordon" | "drain" | "uncordon";

/** From which states each can be asked; a node that is not heard of has nothing to decide. */
const OFFERS: Record<string, readonly Verb[]> = {
  READY: ["cordon", "drain"],
  CORDONED: ["uncordon", "drain"],
  DRAINING: ["uncordon"],
};

/** Takes a node out of use and puts it back. What takes away asks first, and offers to undo it. */
export function NodeActions({ node }: { node: Node }) {
  const { t } = useI18n();
  const message = useMessage();
  const confirm = useConfirm();
  const report = useReport();
  const change = useChange(["gpu_scheduler"], (verb: Verb) => post(`/${node.name}:${verb}`));
  const what = node.display_name || node.hostname;
  const putBack = () =>
    change.mutate("uncordon", {
      onError: report,
      onSuccess: () => message.success(t("cluster.uncordonDone", { what })),
    });
  const takeOut = (verb: "cordon" | "drain") =>
    confirm({
      title: t(`cluster.${verb}Title`, { what }),
      hint: t(`cluster.${verb}Hint`),
      confirm: t(`cluster.${verb}`),
      danger: verb === "drain",
      done: (
        <>
          {t(`cluster.${verb}Done`, { what })}{" "}
          <Button type="link" size="small" onClick={putBack}>
            {t("cluster.undo")}
          </Button>
        </>
      ),
      act: () => change.mutateAsync(verb),
    });
  const verbs = OFFERS[bare(node.state)] ?? [];
  if (!verbs.length) return null;
  return (
    <div className="row wrap map-actions">
      {verbs.map((verb) => (
        <OperatorButton
          key={verb}
          size="small"
          loading={change.isPending && change.variables === verb}
          onClick={() => (verb === "uncordon" ? putBack() : takeOut(verb))}
        >
          {t(`cluster.${verb}`)}
        </OperatorButton>
      ))}
    </div>
  );
}
