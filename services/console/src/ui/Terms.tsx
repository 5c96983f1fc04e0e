import { Select, Skeleton } from "antd";
import { useState } from "react";
import { bare, lastPart, shortName, variantLabel } from "@/api/names";
import { useGet, useProject } from "@/api/queries";
import type { InheritedTerm, LicenceTerms } from "@/api/types";
import { useI18n } from "@/i18n";
import { Ref } from "./Id";
import { Panel } from "./Page";
import { Trouble } from "./Trouble";
import "./terms.css";

interface Props {
  name: string;
  /** Forms of it, which may have come from more. */
  variants?: readonly string[];
}

/** Under which terms a version stands, each with the ancestor that brings it, and what the policy has against it. */
export function Terms({ name, variants = [] }: Props) {
  const { t, word } = useI18n();
  const project = useProject();
  const [chosen, setChosen] = useState(name);
  const found = useGet<LicenceTerms>(`/projects/${project}/licence-terms`, { name: chosen });
  const isRefused = (found.data?.refusals.length ?? 0) > 0;
  return (
    <Panel
      title={t("terms.title")}
      extra={
        <>
          {isRefused && <span className="chip bad">{t("terms.refused")}</span>}
          {variants.length > 0 && (
            <Select
              size="small"
              aria-label={t("models.variant")}
              style={{ minWidth: 160 }}
              value={chosen}
              onChange={setChosen}
              options={[
                { value: name, label: shortName(name) },
                ...variants.map((variant) => ({ value: variant, label: variantLabel(lastPart(variant)) })),
              ]}
            />
          )}
        </>
      }
    >
      {found.isPending ? (
        <Skeleton active title={false} />
      ) : found.isError ? (
        <Trouble error={found.error} retry={() => found.refetch()} />
      ) : (
        <>
          <dl className="terms">
            {byTerm(found.data.terms).map(([term, brought]) => (
              <div key={term}>
                <dt>
                  <span className={refuses(found.data, term) ? "chip bad" : "chip"}>{word("term", bare(term))}</span>
                </dt>
                <dd>
                  {brought.map((each) => (
                    <Because key={each.because_of} name={each.because_of} licence={each.licence} url={each.url} />
                  ))}
                </dd>
              </div>
            ))}
            {found.data.unknown.length > 0 && (
              <div>
                <dt>
                  <span className={refuses(found.data, "TERM_UNSPECIFIED") ? "chip bad" : "chip wait"}>
                    {t("terms.unknown")}
                  </span>
                </dt>
                <dd>
                  {found.data.unknown.map((each) => (
                    <Because key={each.name} name={each.name} licence={each.licence || t("terms.notStated")} />
                  ))}
                </dd>
              </div>
            )}
          </dl>
          {!found.data.terms.length && !found.data.unknown.length && <p className="quiet">{t("terms.none")}</p>}
          <p className="quiet">{t("terms.hint")}</p>
        </>
      )}
    </Panel>
  );
}

function Because({ name, licence, url = "" }: { name: string; licence: string; url?: string }) {
  const { t } = useI18n();
  return (
    <div>
      {t("terms.because")} <Ref name={name} /> ·{" "}
      {url ? (
        <a href={url} target="_blank" rel="noreferrer noopener">
          {licence}
        </a>
      ) : (
        licence
      )}
    </div>
  );
}

function byTerm(terms: readonly InheritedTerm[]): [InheritedTerm["term"], InheritedTerm[]][] {
  const found = new Map<InheritedTerm["term"], InheritedTerm[]>();
  for (const each of terms) found.set(each.term, [...(found.get(each.term) ?? []), each]);
  return [...found];
}

function refuses(found: LicenceTerms, term: InheritedTerm["term"]): boolean {
  return found.refusals.some((refusal) => refusal.term === term);
}
