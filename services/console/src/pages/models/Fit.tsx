import { ExperimentOutlined } from "@ant-design/icons";
import { Button, Select } from "antd";
import { useState } from "react";
import { useSearchParams } from "react-router";
import { lastPart, shortName } from "@/api/names";
import { useList, useMay, useProject } from "@/api/queries";
import type { Comparison } from "@/api/types";
import { useI18n } from "@/i18n";
import { Empty } from "@/ui/Empty";
import { Page, Panel } from "@/ui/Page";
import { SkeletonRows } from "@/ui/ResourceTable";
import { isOpen, State } from "@/ui/State";
import { Trouble } from "@/ui/Trouble";
import { ComparisonView } from "./ComparisonView";
import { FitDrawer } from "./FitDrawer";

/** Milliseconds between two looks at a comparison that runs. */
const POLL = 2000;

/** Which of several models fits one's own rows: quality with its interval, speed, memory, cost, and which one to take. */
export function Fit() {
  const { t } = useI18n();
  const project = useProject();
  const mayStart = useMay("ENGINEER");
  const [address, setAddress] = useSearchParams();
  const [drawer, setDrawer] = useState(false);
  const [running, setRunning] = useState(false);
  const list = useList<"comparisons", Comparison>(
    `/projects/${project}/comparisons`,
    { page_size: 100 },
    { refetchInterval: running && POLL },
  );
  const all = (list.data?.comparisons ?? []).filter((one) => !one.version);
  const now = all.some((one) => isOpen(one.state));
  if (now !== running) setRunning(now);
  const shown = all.find((one) => lastPart(one.name) === address.get("comparison")) ?? all[0];
  const choose = (name: string) => setAddress({ comparison: lastPart(name) }, { replace: true });
  const start = mayStart && (
    <Button type="primary" icon={<ExperimentOutlined aria-hidden />} onClick={() => setDrawer(true)}>
      {t("fit.start")}
    </Button>
  );
  return (
    <Page
      title={t("fit.title")}
      lead={t("fit.lead")}
      back={{ text: t("models.title"), to: `/p/${project}/models` }}
      actions={start}
    >
      {list.isError ? (
        <Panel>
          <Trouble error={list.error} retry={() => list.refetch()} />
        </Panel>
      ) : list.isPending ? (
        <Panel flush>
          <SkeletonRows columns={6} />
        </Panel>
      ) : shown ? (
        <>
          <div className="row wrap">
            <Select
              aria-label={t("quantisations.which")}
              value={shown.name}
              onChange={choose}
              popupMatchSelectWidth={false}
              options={all.map((one) => ({
                value: one.name,
                label: `${t("quantisations.numbered", { n: one.number })} · ${shortName(one.suite)}`,
              }))}
            />
            <State value={shown.state} why={shown.failure_reason} />
          </div>
          <ComparisonView comparison={shown} onChoose={choose} />
        </>
      ) : (
        <Panel>
          <Empty title={t("fit.empty")} hint={t("fit.emptyHint")} action={start || undefined} />
        </Panel>
      )}
      <FitDrawer open={drawer} onClose={() => setDrawer(false)} onStarted={choose} />
    </Page>
  );
}
