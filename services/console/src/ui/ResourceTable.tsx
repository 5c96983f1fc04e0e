import { ReloadOutlined } from "@ant-design/icons";
import { Button, Table, type TableProps } from "antd";
import type { ReactNode } from "react";
import { useSearchParams } from "react-router";
import type { Params } from "@/api/client";
import { useList } from "@/api/queries";
import type { ListReply } from "@/api/types";
import { useI18n } from "@/i18n";
import { Pager, usePages } from "./Pager";
import { Search, withParam } from "./Search";
import { Trouble } from "./Trouble";
import "./table.css";

export interface Column<Row> {
  key: string;
  title: string;
  render: (row: Row) => ReactNode;
  /** The server's column, where it can sort by it. */
  sort?: string;
  width?: number;
  align?: "right";
}

interface Props<Row> {
  /** Tells its search and order from those of the page's other lists in the address. */
  id?: string;
  path: string;
  /** The reply's field with the rows. */
  field: string;
  columns: Column<Row>[];
  rowKey: (row: Row) => string;
  params?: Params;
  /** What stands there when there is nothing at all. */
  empty: ReactNode;
  /** Controls beside the search. */
  tools?: ReactNode;
  /** What the reply says beside its rows; below them. */
  note?: (reply: ListReply) => ReactNode;
  searchable?: boolean;
  pageSize?: number;
  refetchInterval?: number;
  expandable?: TableProps<Row>["expandable"];
  onRowClick?: (row: Row) => void;
}

/** A list of the server's: it searches, sorts and pages; search and order live in the address. */
export function ResourceTable<Row extends object>(props: Props<Row>) {
  const { t } = useI18n();
  const { params = {}, pageSize = 20, searchable = true } = props;
  const [address, setAddress] = useSearchParams();
  const named = (name: string) => (props.id ? `${props.id}.${name}` : name);
  const query = searchable ? (address.get(named("q")) ?? "") : "";
  const order = address.get(named("order")) ?? "";
  const asked = { ...params, query, order_by: order };
  const pages = usePages(JSON.stringify([props.path, asked]));
  const list = useList<string, Row>(
    props.path,
    { ...asked, page_size: pageSize, page_token: pages.token },
    { refetchInterval: props.refetchInterval },
  );
  const rows = (list.data?.[props.field] as Row[] | undefined) ?? [];
  const change = (name: string, value: string) =>
    setAddress((before) => withParam(before, named(name), value), { replace: true });

  return (
    <section className="panel">
      {(searchable || props.tools) && (
        <div className="table-tools">
          {searchable && <Search value={query} onChange={(value) => change("q", value)} />}
          {props.tools}
          <span className="grow" />
          <Button
            type="text"
            icon={<ReloadOutlined aria-hidden spin={list.isFetching} />}
            aria-label={t("action.refresh")}
            onClick={() => list.refetch()}
          />
        </div>
      )}
      {list.isError ? (
        <div className="panel-body">
          <Trouble error={list.error} retry={() => list.refetch()} />
        </div>
      ) : list.isPending ? (
        <SkeletonRows columns={props.columns.length} />
      ) : rows.length === 0 && !query && !pages.token ? (
        props.empty
      ) : (
        <>
          <Table<Row>
            size="small"
            rowKey={props.rowKey}
            dataSource={rows}
            columns={props.columns.map((column) => toAntd(column, order))}
            pagination={false}
            scroll={{ x: "max-content" }}
            expandable={props.expandable}
            locale={{ emptyText: t("table.noMatch", { query }) }}
            className={list.isPlaceholderData ? "stale" : undefined}
            rowClassName={props.onRowClick ? "clickable" : undefined}
            onRow={props.onRowClick && ((row) => ({ onClick: () => props.onRowClick?.(row) }))}
            onChange={(_, __, sorter) => {
              if (!Array.isArray(sorter))
                change("order", orderText(String(sorter.columnKey), sorter.order, props.columns));
            }}
          />
          {props.note?.(list.data)}
          <Pager
            pages={pages}
            shown={rows.length}
            pageSize={pageSize}
            next={list.data.next_page_token}
            total={Number(list.data.total_size)}
          />
        </>
      )}
    </section>
  );
}

function toAntd<Row>(column: Column<Row>, order: string): NonNullable<TableProps<Row>["columns"]>[number] {
  const [by, direction] = order.split(" ");
  const sorted = column.sort === by ? (direction === "desc" ? "descend" : "ascend") : null;
  return {
    key: column.key,
    title: column.title,
    width: column.width,
    align: column.align,
    fixed: column.key === "actions" ? "end" : undefined,
    sorter: column.sort !== undefined,
    sortOrder: column.sort ? sorted : undefined,
    render: (_, row) => column.render(row),
  };
}

function orderText<Row>(key: string, order: "ascend" | "descend" | null | undefined, columns: Column<Row>[]): string {
  const sort = columns.find((column) => column.key === key)?.sort;
  if (!order || !sort) return "";
  return order === "descend" ? `${sort} desc` : sort;
}

export function SkeletonRows({ columns, rows = 6 }: { columns: number; rows?: number }) {
  const { t } = useI18n();
  const numbers = (count: number) => Array.from({ length: count }, (_, index) => index);
  return (
    <div className="skeleton-rows" role="status" aria-label={t("table.loading")}>
      {numbers(rows).map((row) => (
        <div key={row} style={{ gridTemplateColumns: `2fr repeat(${Math.max(columns - 1, 1)}, 1fr)` }}>
          {numbers(columns).map((column) => (
            <i
              key={column}
              className="bone"
              style={{ width: `${column ? 40 + ((row * 17 + column * 29) % 40) : 70}%` }}
            />
          ))}
        </div>
      ))}
    </div>
  );
}
