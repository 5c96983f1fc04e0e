import { DeleteOutlined, PlusOutlined } from "@ant-design/icons";
import { Button } from "antd";
import { useState } from "react";
import { useNavigate, useParams, useSearchParams } from "react-router";
import { useGet, useList, useMay, useProject } from "@/api/queries";
import type { Prompt, PromptVersion } from "@/api/types";
import { PageSkeleton } from "@/app/PageSkeleton";
import { useI18n } from "@/i18n";
import "@/pages/datasets/datasets.css";
import { Actor } from "@/ui/Actor";
import { Facts, Page, Panel } from "@/ui/Page";
import { Pager, usePages } from "@/ui/Pager";
import { withParam } from "@/ui/Search";
import { Trouble } from "@/ui/Trouble";
import { Time } from "@/ui/values";
import { Labels } from "./Labels";
import { NewVersionDrawer } from "./NewVersionDrawer";
import { useDeletePrompt } from "./useDeletePrompt";
import { VersionView } from "./VersionView";

const PAGE = 20;

export function PromptDetail() {
  const { t } = useI18n();
  const project = useProject();
  const navigate = useNavigate();
  const { id = "" } = useParams();
  const canWrite = useMay("ENGINEER");
  const [address, setAddress] = useSearchParams();
  const [writing, setWriting] = useState(false);
  const list = `/p/${project}/prompts`;
  const askToDelete = useDeletePrompt(() => navigate(list));
  const path = `/projects/${project}/prompts/${id}`;
  const prompt = useGet<Prompt>(path);
  const number = Number(address.get("version")) || prompt.data?.labels.production || prompt.data?.newest_version;
  const version = useGet<PromptVersion>(`${path}/versions/${number}`, {}, { enabled: Boolean(number) });
  const back = { text: t("prompts.title"), to: list };
  if (prompt.isPending) return <PageSkeleton />;
  if (prompt.isError) {
    return (
      <Page title={id} back={back}>
        <Trouble error={prompt.error} retry={() => prompt.refetch()} />
      </Page>
    );
  }
  const show = (number: number) =>
    setAddress((before) => withParam(before, "version", String(number)), { replace: true });
  return (
    <Page
      title={prompt.data.display_name || id}
      back={back}
      actions={
        canWrite && (
          <>
            <Button icon={<DeleteOutlined aria-hidden />} danger onClick={() => askToDelete(prompt.data)}>
              {t("action.delete")}
            </Button>
            <Button icon={<PlusOutlined aria-hidden />} disabled={!version.data} onClick={() => setWriting(true)}>
              {t("prompts.newVersion")}
            </Button>
          </>
        )
      }
    >
      <div className="columns">
        {version.isError ? (
          <Panel>
            <Trouble error={version.error} retry={() => version.refetch()} />
          </Panel>
        ) : version.data ? (
          <VersionView prompt={prompt.data} version={version.data} />
        ) : (
          <PageSkeleton />
        )}
        <div className="stack">
          <VersionList path={path} shown={number} onShow={show} />
          <Labels prompt={prompt.data} />
          <Panel>
            <Facts
              list
              rows={[
                [t("column.id"), <span className="mono">{id}</span>],
                [t("column.created"), <Time value={prompt.data.create_time} />],
                [t("column.updated"), <Time value={prompt.data.update_time} />],
                [t("column.by"), <Actor value={prompt.data.created_by} />],
              ]}
            />
          </Panel>
        </div>
      </div>
      <NewVersionDrawer
        open={writing}
        prompt={prompt.data}
        from={version.data}
        onClose={() => setWriting(false)}
        onMade={(made) => show(made.number)}
      />
    </Page>
  );
}

function VersionList({ path, shown, onShow }: { path: string; shown?: number; onShow: (number: number) => void }) {
  const { t } = useI18n();
  const pages = usePages(path);
  const list = useList<"versions", PromptVersion>(`${path}/versions`, { page_size: PAGE, page_token: pages.token });
  const versions = list.data?.versions ?? [];
  return (
    <Panel title={t("prompts.versions")} flush>
      {list.isError && <Trouble error={list.error} retry={() => list.refetch()} />}
      <ul className="version-list">
        {versions.map((version) => (
          <li key={version.name}>
            <button type="button" aria-current={version.number === shown} onClick={() => onShow(version.number)}>
              <span className="row wrap" style={{ gap: 4 }}>
                <strong className="grow">{t("prompts.version", { n: version.number })}</strong>
                {version.labels.map((label) => (
                  <span key={label} className="chip accent">
                    {label}
                  </span>
                ))}
              </span>
              {version.comment && (
                <span className="ellipsis" translate="no">
                  {version.comment}
                </span>
              )}
              <span className="row quiet">
                <Time value={version.create_time} />
              </span>
            </button>
          </li>
        ))}
      </ul>
      {list.data && Number(list.data.total_size) > PAGE && (
        <Pager
          pages={pages}
          shown={versions.length}
          pageSize={PAGE}
          next={list.data.next_page_token}
          total={Number(list.data.total_size)}
        />
      )}
    </Panel>
  );
}
