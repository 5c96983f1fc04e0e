import { Select } from "antd";
import { useNavigate } from "react-router";
import { lastPart } from "@/api/names";
import { useProject, useSession } from "@/api/queries";
import { useI18n } from "@/i18n";

export function ProjectSwitcher() {
  const { t } = useI18n();
  const project = useProject();
  const navigate = useNavigate();
  const projects = useSession().data?.projects ?? [];
  const options = projects.map((one) => ({ value: lastPart(one.name), label: one.display_name || lastPart(one.name) }));
  return (
    <div className="side-project">
      <Select
        aria-label={t("project.switch")}
        value={project}
        options={options}
        onChange={(next) => navigate(`/p/${next}`)}
        style={{ width: "100%" }}
        showSearch={options.length > 8 && { optionFilterProp: "label" }}
        popupMatchSelectWidth={false}
      />
    </div>
  );
}
