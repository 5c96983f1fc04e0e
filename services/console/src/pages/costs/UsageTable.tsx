import { Table } from "antd";
import { useI18n } from "@/i18n";
import { formatPercent } from "@/i18n/format";
import { Cost, Num } from "@/ui/values";
import type { Sum } from "./usage";

export function UsageTable({ sums, title, label }: { sums: Sum[]; title: string; label: (id: string) => string }) {
  const { t, language } = useI18n();
  const all = sums.reduce((total, sum) => total + sum.cost, 0);
  return (
    <Table<Sum>
      size="small"
      rowKey="id"
      dataSource={sums}
      pagination={sums.length > 20 ? { pageSize: 20, showSizeChanger: false } : false}
      scroll={{ x: "max-content" }}
      columns={[
        { title, render: (_, sum) => label(sum.id) },
        { title: t("costs.measure.requests"), align: "right", render: (_, sum) => <Num value={sum.requests} /> },
        { title: t("costs.tokensIn"), align: "right", render: (_, sum) => <Num value={sum.promptTokens} /> },
        { title: t("costs.tokensOut"), align: "right", render: (_, sum) => <Num value={sum.answerTokens} /> },
        {
          title: t("costs.measure.cost"),
          align: "right",
          render: (_, sum) => <Cost microusd={String(sum.cost)} />,
        },
        {
          title: t("costs.share"),
          align: "right",
          render: (_, sum) => <span className="num">{all ? formatPercent(language, sum.cost / all) : "–"}</span>,
        },
      ]}
    />
  );
}
