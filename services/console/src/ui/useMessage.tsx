import { CheckCircleFilled, InfoCircleFilled, WarningFilled } from "@ant-design/icons";
import { App } from "antd";
import { type ReactNode, useMemo } from "react";

interface Said {
  /** One message of a key replaces the one before it. */
  key?: string;
  content: ReactNode;
  /** Seconds; three where nothing is given. */
  duration?: number;
}

const ICONS = {
  info: <InfoCircleFilled aria-hidden />,
  success: <CheckCircleFilled aria-hidden />,
  warning: <WarningFilled aria-hidden />,
};

/** A short message that goes by itself. Ant Design's own icons in it are read aloud by their English names. */
export function useMessage(): Record<keyof typeof ICONS, (said: ReactNode | Said) => void> {
  const { message } = App.useApp();
  return useMemo(() => {
    const say = (type: keyof typeof ICONS) => (said: ReactNode | Said) =>
      void message.open({ ...(isSaid(said) ? said : { content: said }), type, icon: ICONS[type] });
    return { info: say("info"), success: say("success"), warning: say("warning") };
  }, [message]);
}

const isSaid = (said: ReactNode | Said): said is Said => typeof said === "object" && said !== null && "content" in said;
