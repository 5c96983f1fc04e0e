import { useProject, useSession } from "@/api/queries";
import { useI18n } from "@/i18n";
import { Page } from "@/ui/Page";
import { ClusterMap } from "./ClusterMap";
import { GanttChart } from "./GanttChart";
import { Utilisation } from "./Utilisation";
import "./cluster.css";

/** Nodes and cards as they are, how full they were, and who held them: of all projects that the caller may see. */
export function Cluster() {
  const { t } = useI18n();
  const project = useProject();
  const everywhere = useSession().data?.all_projects ?? false;
  return (
    <Page title={t("cluster.title")} lead={t("cluster.lead")}>
      <ClusterMap />
      <Utilisation />
      <GanttChart path={everywhere ? "/attempts" : `/projects/${project}/attempts`} />
    </Page>
  );
}
