import { remove } from "@/api/client";
import { lastPart } from "@/api/names";
import { useChange } from "@/api/queries";
import type { Prompt } from "@/api/types";
import { useI18n } from "@/i18n";
import { useConfirm } from "@/ui/useConfirm";

/** Asks, says what that breaks, and deletes the prompt with all its versions. */
export function useDeletePrompt(after?: () => void): (prompt: Prompt) => void {
  const { t } = useI18n();
  const confirm = useConfirm();
  const removal = useChange(["inference_gateway"], (prompt: Prompt) => remove(`/${prompt.name}`));
  return (prompt) => {
    const what = prompt.display_name || lastPart(prompt.name);
    confirm({
      title: t("delete.title", { what }),
      hint: t("prompts.deleteHint", { id: lastPart(prompt.name) }),
      confirm: t("action.delete"),
      danger: true,
      done: t("delete.done", { what }),
      act: async () => {
        await removal.mutateAsync(prompt);
        after?.();
      },
    });
  };
}
