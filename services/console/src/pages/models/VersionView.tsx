import { DeleteOutlined } from "@ant-design/icons";
import { Button, Skeleton, Table } from "antd";
import { useNavigate } from "react-router";
import { remove } from "@/api/client";
import { bare, lastPart, shortName, variantLabel } from "@/api/names";
import { useChange, useList, useMay } from "@/api/queries";
import type { ModelVersion, Variant } from "@/api/types";
import { useI18n } from "@/i18n";
import { Actor } from "@/ui/Actor";
import { Digest, Ref } from "@/ui/Id";
import { Facts, Panel } from "@/ui/Page";
import { isOpen, State } from "@/ui/State";
import { Terms } from "@/ui/Terms";
import { Failure, Trouble } from "@/ui/Trouble";
import { useAskToRemove } from "@/ui/useConfirm";
import { Bytes, Nothing, Time } from "@/ui/values";
import { AddAdapter } from "./AddAdapter";
import { AddVariant } from "./AddVariant";
import { Files } from "./Files";
import { Memory } from "./Memory";

export function VersionView({ version }: { version: ModelVersion }) {
  const { t } = useI18n();
  const { parents } = version;
  return (
    <div className="stack">
      <Failure reason={version.failure_reason} message={version.failure_message} />
      {version.state === "STATE_READY" && <Memory key={version.name} name={version.name} />}
      <Variants version={version} />
      <Panel extra={<RemoveVersion version={version} />} title={t("models.aboutVersion")}>
        <Facts
          rows={[
            [t("column.status"), <State value={version.state} />],
            [t("column.size"), <Bytes value={version.size_bytes} />],
            [t("column.licence"), version.licence || <Nothing />],
            [t("column.origin"), version.origin || <Nothing />],
            version.source !== "" && [t("models.source"), <span className="mono">{version.source}</span>],
            parents?.base_version ? [t("runs.base"), <Ref name={parents.base_version} />] : null,
            parents?.run ? [t("models.fromRun"), <Ref name={parents.run} />] : null,
            parents?.dataset_versions.length
              ? [
                  t("run.datasets"),
                  <span className="row wrap">
                    {parents.dataset_versions.map((name) => (
                      <Ref key={name} name={name} />
                    ))}
                  </span>,
                ]
              : null,
            [t("column.digest"), <Digest value={version.digest} />],
            [t("column.created"), <Time value={version.create_time} />],
            [t("column.by"), <Actor value={version.created_by} />],
          ]}
        />
      </Panel>
      <Terms key={version.name} name={version.name} variants={version.variants} />
    </div>
  );
}

/** Milliseconds; quantising takes a second or two and then says so by an event, which may be missed. */
const POLL = 2000;

function Variants({ version }: { version: ModelVersion }) {
  const { t, word } = useI18n();
  const list = useList<"variants", Variant>(
    `/${version.name}/variants`,
    {},
    { refetchInterval: isOpen(version.state) ? POLL : 15_000 },
  );
  const mayRead = useMay("ENGINEER");
  const variants = list.data?.variants ?? [];
  return (
    <Panel
      title={t("models.variants")}
      flush
      extra={
        <span className="row">
          <AddAdapter version={version} have={variants} />
          <AddVariant version={version} have={variants} />
        </span>
      }
    >
      {list.isPending ? (
        <div className="panel-body">
          <Skeleton active title={false} />
        </div>
      ) : list.isError ? (
        <div className="panel-body">
          <Trouble error={list.error} retry={() => list.refetch()} />
        </div>
      ) : (
        <Table<Variant>
          size="small"
          rowKey="name"
          dataSource={variants}
          pagination={false}
          scroll={{ x: "max-content" }}
          locale={{ emptyText: t("models.noVariants") }}
          expandable={{
            rowExpandable: (row) => row.state === "STATE_READY" && mayRead,
            expandedRowRender: (row) => <Files variant={row} />,
          }}
          columns={[
            {
              title: t("models.variant"),
              render: (_, row) => <span className="mono">{nameOf(row)}</span>,
            },
            { title: t("models.format"), render: (_, row) => word("format", bare(row.format)) },
            { title: t("column.size"), align: "right", render: (_, row) => <Bytes value={row.size_bytes} /> },
            { title: t("column.status"), render: (_, row) => <State value={row.state} why={row.failure_reason} /> },
            {
              title: t("models.note"),
              render: (_, row) => (
                <span className="second variant-note" lang="en">
                  {row.note}
                </span>
              ),
            },
            { title: t("column.digest"), render: (_, row) => <Digest value={row.digest} /> },
            { title: t("column.created"), render: (_, row) => <Time value={row.create_time} /> },
          ]}
        />
      )}
    </Panel>
  );
}

function RemoveVersion({ version }: { version: ModelVersion }) {
  const { t } = useI18n();
  const mayRemove = useMay("ENGINEER");
  const navigate = useNavigate();
  const ask = useAskToRemove();
  const removal = useChange(["model_registry"], () => remove(`/${version.name}`));
  if (!mayRemove) return null;
  const act = () => removal.mutateAsync(undefined).then(() => navigate("?", { replace: true }));
  return (
    <Button
      type="text"
      size="small"
      icon={<DeleteOutlined aria-hidden />}
      aria-label={t("action.delete")}
      onClick={() => ask.remove(shortName(version.name), act)}
    />
  );
}

/** An adapter has the name that somebody gave it, every other form that of its quantisation. */
function nameOf({ name, format }: Variant): string {
  return format.endsWith("ADAPTER") ? lastPart(name) : variantLabel(lastPart(name));
}
