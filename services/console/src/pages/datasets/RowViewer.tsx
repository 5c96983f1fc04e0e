import { Segmented, Select } from "antd";
import { useState } from "react";
import { bare } from "@/api/names";
import type { ChatMessage, DatasetVersion, Row } from "@/api/types";
import { useI18n } from "@/i18n";
import { Conversation } from "@/ui/Conversation";
import { Empty } from "@/ui/Empty";
import { ResourceTable } from "@/ui/ResourceTable";
import { Num } from "@/ui/values";

export function RowViewer({ version }: { version: DatasetVersion }) {
  const { t, word } = useI18n();
  const [split, setSplit] = useState("SPLIT_UNSPECIFIED");
  const [slice, setSlice] = useState("");
  const splits = ["UNSPECIFIED", "TRAIN", "TEST"].map((one) => ({ value: `SPLIT_${one}`, label: word("split", one) }));
  const slices = version.slices.map((one) => ({ value: one.slice, label: one.slice }));
  return (
    <ResourceTable<Row>
      path={`/${version.name}/rows`}
      field="rows"
      params={{ split, slice }}
      rowKey={(row) => row.id}
      tools={
        <>
          <Segmented aria-label={t("dataset.split")} options={splits} value={split} onChange={setSplit} />
          {slices.length > 1 && (
            <Select
              aria-label={t("dataset.slice")}
              value={slice}
              onChange={setSlice}
              style={{ minWidth: 140 }}
              options={[{ value: "", label: t("dataset.allSlices") }, ...slices]}
            />
          )}
        </>
      }
      empty={<Empty title={t("dataset.noRows")} />}
      expandable={{ expandedRowRender: (row) => <WholeRow row={row} />, expandRowByClick: true }}
      columns={[
        { key: "line", title: t("dataset.line"), align: "right", render: (row) => <Num value={row.source_line} /> },
        {
          key: "text",
          title: t("dataset.rows"),
          render: (row) => <div className="row-cell two-lines">{opening(row)}</div>,
        },
        {
          key: "slice",
          title: t("dataset.slice"),
          render: (row) => row.slice && <span className="chip">{row.slice}</span>,
        },
        { key: "split", title: t("dataset.split"), render: (row) => word("split", bare(row.split)) },
      ]}
    />
  );
}

/** What a person recognises a row by: the first thing that the user says. */
function opening(row: Row): string {
  const turns = row.messages.length ? row.messages : row.prompt;
  return (turns.find((turn) => turn.role === "user") ?? turns[0])?.content ?? row.id;
}

function WholeRow({ row }: { row: Row }) {
  const { t } = useI18n();
  return (
    <div className="stack-s">
      <Conversation turns={row.messages.length ? row.messages : row.prompt} />
      <Side title={t("dataset.chosen")} tone="ok" turns={row.chosen} />
      <Side title={t("dataset.rejected")} tone="bad" turns={row.rejected} />
    </div>
  );
}

function Side({ title, tone, turns }: { title: string; tone: string; turns: ChatMessage[] }) {
  if (!turns.length) return null;
  return (
    <div className="stack-s">
      <div>
        <span className={`chip ${tone}`}>{title}</span>
      </div>
      <Conversation turns={turns} />
    </div>
  );
}
