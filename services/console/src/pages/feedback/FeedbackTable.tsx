import { DislikeOutlined, LikeOutlined } from "@ant-design/icons";
import { Button, Table } from "antd";
import { useEffect, useRef } from "react";
import { bare, lastPart } from "@/api/names";
import type { Feedback } from "@/api/types";
import { useI18n } from "@/i18n";
import { formatBytes } from "@/i18n/format";
import { State } from "@/ui/State";
import { Nothing, Time } from "@/ui/values";

interface Props {
  rows: Feedback[];
  /** Id of the one on the right. */
  shown: string;
  order: string;
  onOpen: (row: Feedback) => void;
  onOrder: (order: string) => void;
}

export function FeedbackTable({ rows, shown, order, onOpen, onOrder }: Props) {
  const { t } = useI18n();
  const [by, direction] = order.split(" ");
  const sortable = (key: string) => ({
    key,
    sorter: true,
    sortOrder: by === key ? (direction === "desc" ? ("descend" as const) : ("ascend" as const)) : null,
  });
  const place = useRef<HTMLDivElement>(null);
  // biome-ignore lint/correctness/useExhaustiveDependencies: follows the one that is shown
  useEffect(() => {
    place.current?.querySelector("tr.shown")?.scrollIntoView({ block: "nearest" });
  }, [shown]);
  return (
    <div ref={place}>
      <Table<Feedback>
        size="small"
        rowKey="name"
        dataSource={rows}
        pagination={false}
        scroll={{ x: "max-content" }}
        rowClassName={(row) => (lastPart(row.name) === shown ? "clickable shown" : "clickable")}
        onRow={(row) => ({ onClick: () => onOpen(row) })}
        onChange={(_, __, sorter) => {
          if (!Array.isArray(sorter))
            onOrder(sorter.order ? `${sorter.columnKey}${sorter.order === "descend" ? " desc" : ""}` : "");
        }}
        columns={[
          {
            title: t("column.number"),
            ...sortable("number"),
            align: "right",
            render: (_, row) => <span className="num">{row.number}</span>,
          },
          {
            title: t("feedback.said"),
            render: (_, row) => <div className="review-said ellipsis">{question(row)}</div>,
          },
          { title: t("column.status"), ...sortable("state"), render: (_, row) => <State value={row.state} /> },
          { title: t("column.type"), ...sortable("rating"), render: (_, row) => <Rating value={row.rating} /> },
          {
            title: t("dataset.slice"),
            ...sortable("slice"),
            render: (_, row) => (row.slice ? <span className="chip">{row.slice}</span> : <Nothing />),
          },
          {
            title: t("column.size"),
            align: "right",
            render: (_, row) => <span className="num nowrap">{formatBytes(size(row))}</span>,
          },
          {
            title: t("column.created"),
            ...sortable("create_time"),
            render: (_, row) => <Time value={row.create_time} />,
          },
          {
            title: t("column.updated"),
            ...sortable("update_time"),
            render: (_, row) => <Time value={row.update_time} />,
          },
          {
            title: t("column.actions"),
            render: (_, row) => (
              <Button type="link" size="small" onClick={() => onOpen(row)}>
                {t("action.open")}
              </Button>
            ),
          },
        ]}
      />
    </div>
  );
}

export function question(feedback: Feedback): string {
  return (
    feedback.messages.findLast((turn) => turn.role === "user")?.content ||
    feedback.comment ||
    lastPart(feedback.completion)
  );
}

/** Bytes of what was asked, answered and corrected. */
function size(feedback: Feedback): number {
  const text = feedback.messages.map((turn) => turn.content).join("") + feedback.answer + feedback.correction;
  return new TextEncoder().encode(text).length;
}

export function Rating({ value }: { value: string }) {
  const { word } = useI18n();
  const rating = bare(value);
  const icon =
    rating === "THUMBS_UP" ? (
      <LikeOutlined aria-hidden style={{ color: "var(--ok)" }} />
    ) : rating === "THUMBS_DOWN" ? (
      <DislikeOutlined aria-hidden style={{ color: "var(--bad)" }} />
    ) : null;
  return (
    <span className="nowrap">
      {icon} {word("rating", rating)}
    </span>
  );
}
