import { useQueryClient } from "@tanstack/react-query";
import { Button, Form, Input, Skeleton, Switch } from "antd";
import { useEffect, useState } from "react";
import { useNavigate } from "react-router";
import { patch, post } from "@/api/client";
import { lastPart, requestId } from "@/api/names";
import { SESSION_KEY, useChange, useGet, useMay, useProject, useSession } from "@/api/queries";
import type { Project, ProjectSpending } from "@/api/types";
import { useI18n } from "@/i18n";
import { Actor } from "@/ui/Actor";
import { FormDrawer } from "@/ui/FormDrawer";
import { IdField } from "@/ui/IdField";
import { NumberInput } from "@/ui/NumberInput";
import { Facts, Panel } from "@/ui/Page";
import { Trouble } from "@/ui/Trouble";
import { useReport } from "@/ui/useConfirm";
import { useMessage } from "@/ui/useMessage";
import { Time } from "@/ui/values";
import { LimitsDrawer, Spent } from "./Budget";
import { Regions } from "./Regions";

export function ProjectSettings() {
  const { t } = useI18n();
  const project = useProject();
  const isAdmin = useMay("ADMIN");
  const all = useSession().data?.all_projects ?? false;
  const [creating, setCreating] = useState(false);
  const data = useGet<Project>(`/projects/${project}`);
  const spending = useGet<ProjectSpending>(`/projects/${project}/spending`, {}, { refetchInterval: 5000 });
  return (
    <Panel
      title={t("project.settings")}
      extra={
        isAdmin &&
        all && (
          <Button size="small" onClick={() => setCreating(true)}>
            {t("project.new")}
          </Button>
        )
      }
    >
      {data.isPending ? (
        <Skeleton active title={false} />
      ) : data.isError ? (
        <Trouble error={data.error} retry={() => data.refetch()} />
      ) : (
        <div className="stack">
          <Facts
            list
            rows={[
              [t("column.id"), <span className="mono">{project}</span>],
              [t("column.name"), data.data.display_name],
              [t("column.created"), <Time value={data.data.create_time} />],
            ]}
          />
          <Budget project={data.data} />
          <Regions project={data.data} sentOut={spending.data?.sent_out} />
          <Consent project={data.data} />
        </div>
      )}
      <CreateProjectDrawer open={creating} onClose={() => setCreating(false)} />
    </Panel>
  );
}

/** What all keys together may use, and have used. */
function Budget({ project }: { project: Project }) {
  const { t } = useI18n();
  const isAdmin = useMay("ADMIN");
  const [changing, setChanging] = useState(false);
  const spending = useGet<ProjectSpending>(`/${project.name}/spending`, {}, { refetchInterval: 5000 });
  return (
    <div className="stack-s">
      <div className="row">
        <span className="grow">{t("budget.ofProject")}</span>
        {isAdmin && (
          <Button size="small" onClick={() => setChanging(true)}>
            {t("budget.change")}
          </Button>
        )}
      </div>
      <Spent of={project} spending={spending.data?.project ?? undefined} />
      <LimitsDrawer of={changing ? project : null} title={t("budget.ofProject")} onClose={() => setChanging(false)} />
    </div>
  );
}

/** Whether questions and answers may be kept: off until somebody says so, and who said it is shown. */
function Consent({ project }: { project: Project }) {
  const { t } = useI18n();
  const isAdmin = useMay("ADMIN");
  const report = useReport();
  const change = useChange(["api_gateway"], (consent: boolean) =>
    patch<Project>(`/${project.name}`, { consent_to_keep: consent, etag: project.etag }),
  );
  return (
    <div className="stack-s">
      <div className="row">
        <Switch
          aria-label={t("project.consent")}
          checked={project.consent_to_keep}
          disabled={!isAdmin}
          loading={change.isPending}
          onChange={(on) => change.mutate(on, { onError: report })}
        />
        <span>{t("project.consent")}</span>
      </div>
      <p className="quiet">{t("project.consentHint")}</p>
      {project.consent_to_keep && project.consent_time && (
        <p className="quiet">
          {t("project.consentBy")} <Actor value={project.consented_by} /> · <Time value={project.consent_time} />
        </p>
      )}
      {project.consent_to_keep && <Keeping project={project} />}
    </div>
  );
}

/** How what is kept is kept: with or without personal data, and for how long. */
function Keeping({ project }: { project: Project }) {
  const { t } = useI18n();
  const message = useMessage();
  const isAdmin = useMay("ADMIN");
  const report = useReport();
  const change = useChange(
    ["api_gateway"],
    (changes: Partial<Pick<Project, "keep_personal_data" | "retention_days">>) =>
      patch<Project>(`/${project.name}`, { ...changes, etag: project.etag }),
  );
  const saved = { onError: report, onSuccess: () => message.success(t("project.retentionSaved")) };
  return (
    <div className="stack-s">
      <div className="row">
        <Switch
          aria-label={t("project.personalData")}
          checked={project.keep_personal_data}
          disabled={!isAdmin}
          loading={change.isPending}
          onChange={(on) => change.mutate({ keep_personal_data: on }, { onError: report })}
        />
        <span>{t("project.personalData")}</span>
      </div>
      <p className="quiet">{t("project.personalDataHint")}</p>
      <div className="row">
        <NumberInput
          key={project.retention_days}
          aria-label={t("project.retention")}
          min={0}
          max={36_500}
          precision={0}
          disabled={!isAdmin}
          defaultValue={project.retention_days}
          onBlur={(event) => {
            const days = Number(event.target.value);
            if (Number.isInteger(days) && days !== project.retention_days)
              change.mutate({ retention_days: days }, saved);
          }}
        />
        <span>{t("project.retention")}</span>
      </div>
      <p className="quiet">{t("project.retentionHint")}</p>
    </div>
  );
}

interface Values {
  display_name: string;
  project_id: string;
  consent_to_keep: boolean;
}

function CreateProjectDrawer({ open, onClose }: { open: boolean; onClose: () => void }) {
  const { t } = useI18n();
  const message = useMessage();
  const client = useQueryClient();
  const navigate = useNavigate();
  const [request, setRequest] = useState(requestId);
  useEffect(() => {
    if (open) setRequest(requestId());
  }, [open]);
  return (
    <FormDrawer<Values>
      open={open}
      onClose={onClose}
      title={t("project.new")}
      submitText={t("action.create")}
      initialValues={{ consent_to_keep: false }}
      onSubmit={async (values) => {
        const made = await post<Project>("/projects", { ...values, request_id: request });
        await client.invalidateQueries({ queryKey: SESSION_KEY });
        message.success(t("project.created", { what: made.display_name }));
        navigate(`/p/${lastPart(made.name)}`);
      }}
    >
      <Form.Item name="display_name" label={t("form.name")} rules={[{ required: true, message: t("form.required") }]}>
        <Input maxLength={120} />
      </Form.Item>
      <IdField name="project_id" from="display_name" />
      <Form.Item
        name="consent_to_keep"
        required
        label={t("project.consent")}
        extra={t("project.consentHint")}
        valuePropName="checked"
      >
        <Switch />
      </Form.Item>
    </FormDrawer>
  );
}
