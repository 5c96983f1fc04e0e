import type { ReactNode } from "react";
import { Link } from "react-router";
import { useI18n } from "@/i18n";
import "./page.css";
import { useTitle } from "./useTitle";

interface Props {
  title: string;
  lead?: ReactNode;
  /** Where this page hangs: text and path of the list above it. */
  back?: { text: string; to: string };
  actions?: ReactNode;
  children: ReactNode;
  /** Uses the whole height, for pages with panes of their own. */
  full?: boolean;
}

export function Page({ title, lead, back, actions, children, full = false }: Props) {
  const { t } = useI18n();
  useTitle(title);
  return (
    <div className={full ? "page full" : "page"}>
      <header className="page-head">
        <div className="grow">
          {back && (
            <nav aria-label={t("page.path")}>
              <Link to={back.to} className="page-back">
                {back.text}
              </Link>
            </nav>
          )}
          <h1>{title}</h1>
          {lead && <div className="page-lead">{lead}</div>}
        </div>
        {actions && <div className="row wrap page-actions">{actions}</div>}
      </header>
      {children}
    </div>
  );
}

export function Panel({
  title,
  extra,
  children,
  flush = false,
}: {
  title?: string;
  extra?: ReactNode;
  children: ReactNode;
  flush?: boolean;
}) {
  return (
    <section className="panel" aria-label={title}>
      {(title || extra) && (
        <div className="panel-head">
          <h2 className="grow">{title}</h2>
          {extra}
        </div>
      )}
      <div className={flush ? undefined : "panel-body"}>{children}</div>
    </section>
  );
}

export type FactRows = readonly (readonly [label: string, value: ReactNode] | null | false)[];

/** Labels and values; `list` sets them one under another. */
export function Facts({ rows, list = false }: { rows: FactRows; list?: boolean }) {
  return (
    <dl className={list ? "facts list" : "facts"}>
      {rows.map((row) =>
        row ? (
          list ? (
            [<dt key={`${row[0]} label`}>{row[0]}</dt>, <dd key={row[0]}>{row[1]}</dd>]
          ) : (
            <div key={row[0]}>
              <dt>{row[0]}</dt>
              <dd>{row[1]}</dd>
            </div>
          )
        ) : null,
      )}
    </dl>
  );
}
