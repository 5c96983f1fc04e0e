import { Form } from "antd";
import { lastPart } from "@/api/names";
import type { FlavorQuota } from "@/api/types";
import { useI18n } from "@/i18n";
import { useAmount } from "./QuotaBars";
import { type Excess, excessOf, type QuotaValues } from "./quotas";

/** What is used beyond the quotas as the form has them now, and what comes of that when it is saved. */
export function Excesses({ before, inCohort }: { before: readonly FlavorQuota[]; inCohort: boolean }) {
  const { t } = useI18n();
  const rows: QuotaValues[] | undefined = Form.useWatch("quotas");
  const found = excessOf(before, rows);
  if (found.length === 0) return null;
  return (
    <div className="trouble quota-excess" role="status">
      <strong>{t("quotas.excess")}</strong>
      <ul>
        {found.map((one) => (
          <ExcessLine key={`${one.flavor} ${one.kind}`} of={one} inCohort={inCohort} />
        ))}
      </ul>
    </div>
  );
}

function ExcessLine({ of, inCohort }: { of: Excess; inCohort: boolean }) {
  const { t } = useI18n();
  const amount = useAmount(of.kind);
  const over = of.used - of.nominal;
  const isBorrowed = inCohort && (of.borrowing === null || over <= of.borrowing);
  const figures = { used: amount(of.used), nominal: amount(of.nominal), over: amount(over) };
  return (
    <li>
      <span translate="no">{lastPart(of.flavor)}</span> · {t(`quotas.kind.${of.kind}`)}:{" "}
      {t(isBorrowed ? "quotas.excessBorrowed" : "quotas.excessKept", figures)}
    </li>
  );
}
