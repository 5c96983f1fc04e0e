import { Tooltip } from "antd";
import { bare } from "@/api/names";
import { useI18n } from "@/i18n";

type Tone = "ok" | "busy" | "wait" | "bad" | "off";

const TONES: Record<string, Tone> = {
  ACTIVE: "ok",
  READY: "ok",
  SUCCEEDED: "ok",
  FINISHED: "ok",
  PASSED: "ok",
  MEASURED: "ok",
  APPROVED: "ok",
  DONE: "ok",
  DECIDED: "ok",
  FREE: "ok",
  COMPLETED: "ok",
  RUNNING: "busy",
  STARTING: "busy",
  IMPORTING: "busy",
  CREATING: "busy",
  BUILDING: "busy",
  ADMITTED: "busy",
  IN_REVIEW: "busy",
  BUSY: "busy",
  QUANTISING: "busy",
  EVALUATING: "busy",
  VALIDATING: "busy",
  IN_PROGRESS: "busy",
  FINALIZING: "busy",
  QUEUED: "wait",
  WAITING: "wait",
  PENDING: "wait",
  SUBMITTED: "wait",
  CANCELLING: "wait",
  PAUSING: "wait",
  PAUSED: "wait",
  STOPPING: "wait",
  DRAINING: "wait",
  CORDONED: "wait",
  FENCING: "wait",
  STANDBY: "off",
  ASLEEP: "off",
  ROLLED_BACK: "bad",
  RELEASING: "wait",
  DEGRADED: "wait",
  HELD: "wait",
  REFUSED: "bad",
  FAILED: "bad",
  LOST: "bad",
  GONE: "bad",
  SICK: "bad",
  DENIED: "bad",
};

/** A state as shape and word; `why` (a named reason, or a sentence) shows on hover and to screen readers. */
export function State({ value, why }: { value: string; why?: string }) {
  const { word } = useI18n();
  const state = bare(value);
  const reason = why ? word("reason", why) : undefined;
  const shown = (
    <span className={`state ${TONES[state] ?? "off"}`}>
      <i aria-hidden />
      {word("state", state)}
      {reason && <span className="sr-only">: {reason}</span>}
    </span>
  );
  return reason ? <Tooltip title={reason}>{shown}</Tooltip> : shown;
}

/** Whether something in this state still changes by itself. */
export function isOpen(value: string): boolean {
  const tone = TONES[bare(value)];
  return (tone === "busy" || tone === "wait") && bare(value) !== "HELD";
}
