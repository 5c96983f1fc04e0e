import { Checkbox, Skeleton, Switch } from "antd";
import { patch } from "@/api/client";
import { bare } from "@/api/names";
import { useChange, useGet, useMay, useProject } from "@/api/queries";
import type { LicencePolicy as Policy, Term } from "@/api/types";
import { useI18n } from "@/i18n";
import { Actor } from "@/ui/Actor";
import { Panel } from "@/ui/Page";
import { Trouble } from "@/ui/Trouble";
import { useReport } from "@/ui/useConfirm";
import { Time } from "@/ui/values";

const TERMS: Term[] = [
  "TERM_NON_COMMERCIAL",
  "TERM_NO_TRAINING_OF_RIVALS",
  "TERM_FIELD_OF_USE",
  "TERM_SHARE_ALIKE",
  "TERM_NAMING",
  "TERM_ATTRIBUTION",
];

/** What the project refuses to deploy: terms of licences, and licences that nobody stated. */
export function LicencePolicy() {
  const { t, word } = useI18n();
  const project = useProject();
  const isAdmin = useMay("ADMIN");
  const report = useReport();
  const path = `/projects/${project}/licence-policy`;
  const policy = useGet<Policy>(path);
  const change = useChange(["model_registry"], (changes: Partial<Policy>) =>
    patch<Policy>(path, { ...changes, etag: policy.data?.etag }),
  );
  const apply = (changes: Partial<Policy>) => change.mutate(changes, { onError: report });
  return (
    <Panel title={t("policy.title")}>
      {policy.isPending ? (
        <Skeleton active title={false} />
      ) : policy.isError ? (
        <Trouble error={policy.error} retry={() => policy.refetch()} />
      ) : (
        <div className="stack-s">
          <p className="quiet">{t("policy.hint")}</p>
          <Checkbox.Group
            aria-label={t("policy.refuse")}
            style={{ display: "grid", gap: 6 }}
            disabled={!isAdmin || change.isPending}
            value={policy.data.refuse_terms}
            onChange={(chosen) => apply({ refuse_terms: chosen as Term[] })}
            options={TERMS.map((term) => ({ value: term, label: word("term", bare(term)) }))}
          />
          <div className="row">
            <Switch
              aria-label={t("policy.unknown")}
              checked={policy.data.refuse_unknown}
              disabled={!isAdmin}
              loading={change.isPending}
              onChange={(on) => apply({ refuse_unknown: on })}
            />
            <span>{t("policy.unknown")}</span>
          </div>
          {policy.data.update_time && (
            <p className="quiet">
              {t("policy.changedBy")} <Actor value={policy.data.updated_by} /> ·{" "}
              <Time value={policy.data.update_time} />
            </p>
          )}
        </div>
      )}
    </Panel>
  );
}
