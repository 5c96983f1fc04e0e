import {
  BranchesOutlined,
  LineChartOutlined,
  MoreOutlined,
  PauseOutlined,
  PlayCircleOutlined,
} from "@ant-design/icons";
import { Button, Dropdown, Tooltip } from "antd";
import { useState } from "react";
import { useNavigate } from "react-router";
import { post } from "@/api/client";
import { bare, lastPart } from "@/api/names";
import { useChange, useMay, useProject } from "@/api/queries";
import type { Checkpoint, Run } from "@/api/types";
import { useI18n } from "@/i18n";
import { isOpen } from "@/ui/State";
import { useConfirm, useReport } from "@/ui/useConfirm";
import { useTitles } from "@/ui/useTitles";
import { ForkDrawer } from "./ForkDrawer";

const GOES_ON = ["QUEUED", "STARTING", "RUNNING"];
const HELD = ["PAUSING", "PAUSED"];

/** What a person may do with a run now. What loses or ends something asks first. */
export function Steer({ run, checkpoints }: { run: Run; checkpoints: Checkpoint[] }) {
  const { t } = useI18n();
  const titles = useTitles();
  const project = useProject();
  const navigate = useNavigate();
  const maySteer = useMay("ENGINEER");
  const confirm = useConfirm();
  const report = useReport();
  const [forking, setForking] = useState(false);
  const change = useChange(["training_scheduler", "gpu_scheduler"], (verb: string) => post(`/${run.name}:${verb}`));
  const state = bare(run.state);
  const what = titles.run(run);
  const ask = (verb: "pause" | "stop" | "cancel") =>
    confirm({
      title: t(`run.${verb}Title`, { what }),
      hint: t(`run.${verb}Hint`),
      confirm: t(`run.${verb}`),
      danger: verb === "cancel",
      done: t(`run.${verb}Done`, { what }),
      act: () => change.mutateAsync(verb),
    });
  const ends = [
    {
      key: "stop",
      label: t("run.stop"),
      disabled: state === "STOPPING" || (state !== "RUNNING" && !checkpoints.length),
    },
    { key: "cancel", label: t("run.cancel"), danger: true },
  ];
  const compare = (
    <Tooltip title={t("run.compare")}>
      <Button
        icon={<LineChartOutlined aria-hidden />}
        aria-label={t("run.compare")}
        onClick={() => navigate(`/p/${project}/runs/compare?run=${lastPart(run.name)}`)}
      />
    </Tooltip>
  );
  if (!maySteer) return compare;
  return (
    <>
      {compare}
      {checkpoints.length > 0 && (
        <Button icon={<BranchesOutlined aria-hidden />} onClick={() => setForking(true)}>
          {t("run.fork")}
        </Button>
      )}
      {GOES_ON.includes(state) && (
        <Button icon={<PauseOutlined aria-hidden />} onClick={() => ask("pause")}>
          {t("run.pause")}
        </Button>
      )}
      {HELD.includes(state) && (
        <Button
          type="primary"
          icon={<PlayCircleOutlined aria-hidden />}
          loading={change.isPending}
          onClick={() => change.mutateAsync("resume").catch(report)}
        >
          {t("run.resume")}
        </Button>
      )}
      {isOpen(run.state) && state !== "CANCELLING" && (
        <Dropdown menu={{ items: ends, onClick: ({ key }) => ask(key as "stop" | "cancel") }} trigger={["click"]}>
          <Button icon={<MoreOutlined aria-hidden />} aria-label={t("run.endIt")}>
            {t("run.endIt")}
          </Button>
        </Dropdown>
      )}
      <ForkDrawer run={run} checkpoints={checkpoints} open={forking} onClose={() => setForking(false)} />
    </>
  );
}
