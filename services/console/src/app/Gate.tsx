import { Navigate, Outlet, useLocation } from "react-router";
import { ApiError } from "@/api/client";
import { lastPart } from "@/api/names";
import { useSession } from "@/api/queries";
import { useI18n } from "@/i18n";
import { Empty } from "@/ui/Empty";
import { Trouble } from "@/ui/Trouble";
import { PageSkeleton } from "./PageSkeleton";

/** Lets in who is signed in, and sends everybody else to the door, to come back afterwards. */
export function Gate() {
  const session = useSession();
  const location = useLocation();
  if (session.isPending) return <PageSkeleton />;
  if (session.error instanceof ApiError && session.error.status === 401) {
    return <Navigate to="/sign-in" replace state={{ from: location.pathname + location.search }} />;
  }
  if (session.isError) {
    return (
      <div className="page">
        <Trouble error={session.error} retry={() => session.refetch()} />
      </div>
    );
  }
  return <Outlet />;
}

const LAST_PROJECT = "gyre.project";

export function rememberProject(project: string): void {
  localStorage.setItem(LAST_PROJECT, project);
}

/** The project that was open last, where it is still there. */
export function ToFirstProject() {
  const { t } = useI18n();
  const projects = (useSession().data?.projects ?? []).map((project) => lastPart(project.name));
  const last = localStorage.getItem(LAST_PROJECT);
  const first = projects.find((project) => project === last) ?? projects[0];
  if (first) return <Navigate to={`/p/${first}`} replace />;
  return <Empty title={t("project.none")} hint={t("project.noneHint")} />;
}
