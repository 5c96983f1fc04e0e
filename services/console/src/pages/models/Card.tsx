import { DownloadOutlined, EditOutlined } from "@ant-design/icons";
import { Button, Form, Input, Skeleton } from "antd";
import { useState } from "react";
import { post } from "@/api/client";
import { lastPart } from "@/api/names";
import { useChange, useGet, useMay } from "@/api/queries";
import type { ModelCard, ModelVersion } from "@/api/types";
import { useI18n } from "@/i18n";
import { Actor } from "@/ui/Actor";
import { FormDrawer } from "@/ui/FormDrawer";
import { Panel } from "@/ui/Page";
import { Trouble } from "@/ui/Trouble";
import { Time } from "@/ui/values";
import "./card.css";
import { useMessage } from "@/ui/useMessage";

export function Card({ version }: { version: ModelVersion }) {
  const { t } = useI18n();
  const mayEdit = useMay("ENGINEER");
  const [editing, setEditing] = useState(false);
  const card = useGet<ModelCard>(`/${version.name}/card`);
  if (card.isPending) return <Skeleton active />;
  if (card.isError) return <Trouble error={card.error} retry={() => card.refetch()} />;
  return (
    <Panel
      title={t("models.card")}
      extra={
        <>
          {mayEdit && (
            <Button size="small" icon={<EditOutlined aria-hidden />} onClick={() => setEditing(true)}>
              {t("card.edit")}
            </Button>
          )}
          <Button size="small" icon={<DownloadOutlined aria-hidden />} onClick={() => download(version, card.data)}>
            {t("card.download")}
          </Button>
        </>
      }
    >
      <div className="stack">
        {card.data.sections.map((section) => (
          <section key={section.title}>
            <div className="row">
              <h3 lang="en">{section.title}</h3>
              {section.generated && <span className="chip">{t("card.generated")}</span>}
            </div>
            <Body text={section.body} />
          </section>
        ))}
        {card.data.update_time && (
          <p className="quiet">
            {t("card.editedBy")} <Actor value={card.data.updated_by} /> · <Time value={card.data.update_time} />
          </p>
        )}
      </div>
      <EditDrawer version={version} card={card.data} open={editing} onClose={() => setEditing(false)} />
    </Panel>
  );
}

/** Markdown as it is, but its tables as tables: they are what the generated sections are made of. */
function Body({ text }: { text: string }) {
  return text.split("\n\n").map((block, index) => {
    const key = `${index} ${block.slice(0, 20)}`;
    if (!block.startsWith("| ")) {
      return (
        <p key={key} lang="en" style={{ whiteSpace: "pre-wrap", maxWidth: "76ch", overflowWrap: "anywhere" }}>
          {block}
        </p>
      );
    }
    const [head = [], , ...rows] = block.split("\n").map(cells);
    return (
      <div key={key} style={{ overflowX: "auto" }} lang="en">
        <table className="card-table">
          {head.some(Boolean) && (
            <thead>
              <tr>
                {head.map((cell) => (
                  <th key={cell}>{cell}</th>
                ))}
              </tr>
            </thead>
          )}
          <tbody>
            {rows.map((row) => (
              <tr key={row.join("|")}>
                {row.map((cell, column) => (
                  <td key={`${head[column]} ${cell}`}>{cell}</td>
                ))}
              </tr>
            ))}
          </tbody>
        </table>
      </div>
    );
  });
}

/** Of one line of a Markdown table, without the marks of code and links. */
export function cells(line: string): string[] {
  return line
    .split(/(?<!\\)\|/)
    .slice(1, -1)
    .map((cell) =>
      cell
        .trim()
        .replaceAll("\\|", "|")
        .replace(/^`(.*)`$/, "$1")
        .replace(/^\[(.*)\]\(.*\)$/, "$1"),
    );
}

function EditDrawer({
  version,
  card,
  open,
  onClose,
}: {
  version: ModelVersion;
  card: ModelCard;
  open: boolean;
  onClose: () => void;
}) {
  const { t } = useI18n();
  const message = useMessage();
  const written = card.sections.filter((section) => !section.generated);
  const save = useChange(["model_registry"], (markdown: string) =>
    post<ModelCard>(`/${version.name}/card:edit`, { markdown, etag: card.etag }),
  );
  return (
    <FormDrawer<{ markdown: string }>
      open={open}
      onClose={onClose}
      size={720}
      title={t("card.edit")}
      lead={t("card.editHint")}
      submitText={t("action.save")}
      initialValues={{ markdown: written.map(({ title, body }) => `## ${title}\n\n${body}`).join("\n\n") }}
      onSubmit={async ({ markdown }) => {
        await save.mutateAsync(markdown ?? "");
        message.success(t("card.saved"));
      }}
    >
      <Form.Item name="markdown" label={t("card.text")}>
        <Input.TextArea
          className="mono"
          rows={20}
          maxLength={100_000}
          placeholder={`## ${t("card.example")}\n\n${t("card.exampleText")}`}
        />
      </Form.Item>
    </FormDrawer>
  );
}

function download(version: ModelVersion, card: ModelCard) {
  const address = URL.createObjectURL(new Blob([card.markdown], { type: "text/markdown" }));
  const link = document.createElement("a");
  link.href = address;
  link.download = `${lastPart(version.name.split("/versions/")[0] ?? "")}-${version.number}.md`;
  link.click();
  URL.revokeObjectURL(address);
}
