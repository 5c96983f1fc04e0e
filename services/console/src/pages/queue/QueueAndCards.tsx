import { useI18n } from "@/i18n";
import { Page } from "@/ui/Page";
import { Nodes } from "./Nodes";
import { Queues } from "./Queues";
import { Workloads } from "./Workloads";
import "./queue.css";

export function QueueAndCards() {
  const { t } = useI18n();
  return (
    <Page title={t("queue.title")} lead={t("queue.lead")}>
      <div className="halves">
        <Nodes />
        <Queues />
      </div>
      <Workloads />
    </Page>
  );
}
