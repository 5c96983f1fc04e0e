import { ExperimentOutlined } from "@ant-design/icons";
import { Button, Select, Skeleton } from "antd";
import { useState } from "react";
import { shortName } from "@/api/names";
import { useList, useMay, useProject } from "@/api/queries";
import type { Comparison, ModelVersion } from "@/api/types";
import { useI18n } from "@/i18n";
import { Empty } from "@/ui/Empty";
import { Panel } from "@/ui/Page";
import { isOpen, State } from "@/ui/State";
import { Trouble } from "@/ui/Trouble";
import { CompareDrawer } from "./CompareDrawer";
import { ComparisonView } from "./ComparisonView";

/** Milliseconds between two looks at a comparison that runs. */
const POLL = 2000;

/** Quality against cost: the comparisons of one version, the newest first. */
export function Quantisations({ version }: { version: ModelVersion }) {
  const { t } = useI18n();
  const project = useProject();
  const mayStart = useMay("ENGINEER");
  const [drawer, setDrawer] = useState(false);
  const [chosen, setChosen] = useState<string>();
  const [running, setRunning] = useState(false);
  const list = useList<"comparisons", Comparison>(
    `/projects/${project}/comparisons`,
    { filter: `version=${version.name}`, page_size: 50 },
    { refetchInterval: running && POLL },
  );
  const all = list.data?.comparisons ?? [];
  const now = all.some((one) => isOpen(one.state));
  if (now !== running) setRunning(now);
  const shown = all.find((one) => one.name === chosen) ?? all[0];
  const start = mayStart && version.state === "STATE_READY" && (
    <Button type="primary" icon={<ExperimentOutlined aria-hidden />} onClick={() => setDrawer(true)}>
      {t("quantisations.compare")}
    </Button>
  );
  return (
    <div className="stack">
      {list.isPending ? (
        <Panel>
          <Skeleton active title={false} />
        </Panel>
      ) : list.isError ? (
        <Panel>
          <Trouble error={list.error} retry={() => list.refetch()} />
        </Panel>
      ) : shown ? (
        <>
          <div className="row wrap">
            <Select
              aria-label={t("quantisations.which")}
              value={shown.name}
              onChange={setChosen}
              options={all.map((one) => ({
                value: one.name,
                label: called(one, t("quantisations.numbered", { n: one.number })),
              }))}
            />
            <State value={shown.state} why={shown.failure_reason} />
            <span className="grow" />
            {start}
          </div>
          <ComparisonView comparison={shown} onChoose={setChosen} />
        </>
      ) : (
        <Panel>
          <Empty title={t("quantisations.empty")} hint={t("quantisations.emptyHint")} action={start || undefined} />
        </Panel>
      )}
      <CompareDrawer version={version} open={drawer} onClose={() => setDrawer(false)} />
    </div>
  );
}

function called(comparison: Comparison, numbered: string): string {
  const data = comparison.calibration && ` · ${shortName(comparison.calibration)}`;
  return `${numbered} · ${shortName(comparison.suite)}${data}`;
}
