import { DeleteOutlined, EditOutlined } from "@ant-design/icons";
import { Button, type ButtonProps, Tooltip } from "antd";
import { useSession } from "@/api/queries";
import { useI18n } from "@/i18n";

/** Whether the caller's key is one of the whole platform. The server decides again. */
export function useIsOperator(): boolean {
  return useSession().data?.all_projects ?? false;
}

/** A button for operators; for others it is there, disabled, and says why. */
export function OperatorButton(props: ButtonProps) {
  const { t } = useI18n();
  const isOperator = useIsOperator();
  if (isOperator) return <Button {...props} />;
  return (
    <Tooltip title={t("quotas.operatorsOnly")}>
      {/* A disabled button has no focus, so that what stands around it takes the reason. */}
      {/* biome-ignore lint/a11y/noNoninteractiveTabindex: the reason must be reachable by keyboard */}
      <span tabIndex={0}>
        <Button {...props} disabled />
        <span className="sr-only">{t("quotas.operatorsOnly")}</span>
      </span>
    </Tooltip>
  );
}

/** At the end of a row of what operators change. */
export function EditAndDelete({ what, onEdit, onDelete }: { what: string; onEdit: () => void; onDelete: () => void }) {
  const { t } = useI18n();
  return (
    <span className="row" style={{ gap: 0 }}>
      <OperatorButton
        type="text"
        size="small"
        icon={<EditOutlined aria-hidden />}
        aria-label={t("quotas.edit", { what })}
        onClick={onEdit}
      />
      <OperatorButton
        type="text"
        size="small"
        icon={<DeleteOutlined aria-hidden />}
        aria-label={`${t("action.delete")} ${what}`}
        onClick={onDelete}
      />
    </span>
  );
}
