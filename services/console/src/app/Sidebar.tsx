import {
  AppstoreOutlined,
  AuditOutlined,
  BarChartOutlined,
  CheckSquareOutlined,
  CloudServerOutlined,
  CodeSandboxOutlined,
  CommentOutlined,
  DatabaseOutlined,
  DollarOutlined,
  ExperimentOutlined,
  FileTextOutlined,
  HddOutlined,
  HomeOutlined,
  KeyOutlined,
  LineChartOutlined,
  NodeIndexOutlined,
  PartitionOutlined,
  PieChartOutlined,
  RetweetOutlined,
  UnorderedListOutlined,
} from "@ant-design/icons";
import type { ReactNode } from "react";
import { NavLink } from "react-router";
import { useGet, useProject } from "@/api/queries";
import type { Counted, Summary } from "@/api/types";
import { type PlainKey, useI18n } from "@/i18n";
import { Account } from "./Account";
import { Logo } from "./Logo";
import { ProjectSwitcher } from "./ProjectSwitcher";

interface Item {
  to: string;
  label: PlainKey;
  icon: ReactNode;
  /** What waits behind it, as a number. */
  count?: readonly Counted[];
  /** Whether that is work for a person. */
  waits?: boolean;
}

interface Group {
  label?: PlainKey;
  items: Item[];
}

const GROUPS: Group[] = [
  { items: [{ to: "", label: "nav.home", icon: <HomeOutlined aria-hidden /> }] },
  {
    label: "nav.group.build",
    items: [
      { to: "datasets", label: "nav.datasets", icon: <DatabaseOutlined aria-hidden /> },
      {
        to: "runs",
        label: "nav.runs",
        icon: <LineChartOutlined aria-hidden />,
        count: ["runs_running", "runs_queued"],
      },
      { to: "pipelines", label: "nav.pipelines", icon: <RetweetOutlined aria-hidden /> },
      { to: "models", label: "nav.models", icon: <CodeSandboxOutlined aria-hidden /> },
      { to: "evaluations", label: "nav.evaluations", icon: <BarChartOutlined aria-hidden /> },
    ],
  },
  {
    label: "nav.group.serve",
    items: [
      { to: "deployments", label: "nav.deployments", icon: <CloudServerOutlined aria-hidden /> },
      { to: "playground", label: "nav.playground", icon: <CommentOutlined aria-hidden /> },
      { to: "prompts", label: "nav.prompts", icon: <FileTextOutlined aria-hidden /> },
      { to: "traces", label: "nav.traces", icon: <NodeIndexOutlined aria-hidden /> },
      { to: "batches", label: "nav.batches", icon: <UnorderedListOutlined aria-hidden /> },
      {
        to: "feedback",
        label: "nav.feedback",
        icon: <CheckSquareOutlined aria-hidden />,
        count: ["feedback_waiting"],
        waits: true,
      },
    ],
  },
  {
    label: "nav.group.operate",
    items: [
      { to: "queue", label: "nav.queue", icon: <HddOutlined aria-hidden /> },
      { to: "queues", label: "nav.queues", icon: <PartitionOutlined aria-hidden /> },
      { to: "cluster", label: "nav.cluster", icon: <AppstoreOutlined aria-hidden /> },
      { to: "showback", label: "nav.showback", icon: <PieChartOutlined aria-hidden /> },
      { to: "what-if", label: "nav.whatif", icon: <ExperimentOutlined aria-hidden /> },
      { to: "costs", label: "nav.costs", icon: <DollarOutlined aria-hidden /> },
      { to: "access", label: "nav.access", icon: <KeyOutlined aria-hidden /> },
      { to: "audit", label: "nav.audit", icon: <AuditOutlined aria-hidden /> },
    ],
  },
];

export function Sidebar() {
  const { t } = useI18n();
  const project = useProject();
  const summary = useGet<Summary>(`/projects/${project}/summary`);
  return (
    <div className="side">
      <div className="side-brand">
        <Logo />
        <span>{t("app.name")}</span>
      </div>
      <ProjectSwitcher />
      <nav className="side-nav" aria-label={t("shell.nav")}>
        {GROUPS.map((group) => (
          <div key={group.label ?? "home"} className="side-group">
            {group.label && <h2>{t(group.label)}</h2>}
            <ul>
              {group.items.map((item) => (
                <li key={item.to}>
                  <NavLink to={`/p/${project}${item.to && `/${item.to}`}`} end={item.to === ""}>
                    {item.icon}
                    <span className="grow ellipsis">{t(item.label)}</span>
                    <Count value={sum(summary.data, item.count)} waits={item.waits} />
                  </NavLink>
                </li>
              ))}
            </ul>
          </div>
        ))}
      </nav>
      <Account />
    </div>
  );
}

function sum(summary: Summary | undefined, names: readonly Counted[] = []): number {
  return names.reduce((total, name) => total + (summary?.counts[name] ?? 0), 0);
}

function Count({ value, waits }: { value: number; waits?: boolean }) {
  return value ? <span className={waits ? "side-count waits num" : "side-count num"}>{value}</span> : null;
}
