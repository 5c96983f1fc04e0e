import { CloseCircleFilled, ExclamationCircleFilled } from "@ant-design/icons";
import { App } from "antd";
import type { ReactNode } from "react";
import { useI18n } from "@/i18n";
import { useTell } from "./Trouble";
import { useMessage } from "./useMessage";

interface Asked {
  title: string;
  hint: string;
  confirm: string;
  danger?: boolean;
  done: ReactNode;
  act: () => Promise<unknown>;
}

/** Asks before it acts, says when it is done, and shows why it was refused. */
export function useConfirm(): (asked: Asked) => void {
  const { modal } = App.useApp();
  const message = useMessage();
  const { t } = useI18n();
  const report = useReport();
  return (asked) => {
    modal.confirm({
      icon: <ExclamationCircleFilled aria-hidden />,
      title: asked.title,
      content: asked.hint,
      okText: asked.confirm,
      okButtonProps: { danger: asked.danger ?? false },
      cancelText: t("action.cancel"),
      autoFocusButton: "cancel",
      onOk: async () => {
        try {
          await asked.act();
          message.success(asked.done);
        } catch (error) {
          report(error);
        }
      },
    });
  };
}

/** Shows an error where there is no place of its own for it. */
export function useReport(): (error: unknown) => void {
  const { notification } = App.useApp();
  const tell = useTell();
  return (error) => {
    const { title, detail } = tell(error);
    notification.error({
      title,
      description: detail === title ? undefined : detail,
      icon: <CloseCircleFilled aria-hidden />,
      role: "alert",
      duration: 8,
    });
  };
}

/** The two questions that every list asks. */
export function useAskToRemove() {
  const confirm = useConfirm();
  const { t } = useI18n();
  return {
    remove: (what: string, act: () => Promise<unknown>) =>
      confirm({
        title: t("delete.title", { what }),
        hint: t("delete.hint"),
        confirm: t("action.delete"),
        danger: true,
        done: t("delete.done", { what }),
        act,
      }),
    stop: (what: string, act: () => Promise<unknown>) =>
      confirm({
        title: t("cancel.title", { what }),
        hint: t("cancel.hint"),
        confirm: t("action.stop"),
        danger: true,
        done: t("cancel.done", { what }),
        act,
      }),
  };
}
