import type { InferenceBatch } from "@/api/types";
import { useI18n } from "@/i18n";
import { Copyable, Ref } from "@/ui/Id";
import { Time } from "@/ui/values";

/** What the row of the table has no room for: how it was asked, its files, and which lines are wrong. */
export function BatchLines({ batch }: { batch: InferenceBatch }) {
  const { t } = useI18n();
  return (
    <dl className="facts list">
      {batch.display_name && <Fact label={t("form.name")}>{batch.display_name}</Fact>}
      {batch.failure_message && <Fact label={t("inference.failure")}>{batch.failure_message}</Fact>}
      {batch.errors.map((error) => (
        <Fact key={`${error.line} ${error.code}`} label={t("inference.line", { n: error.line })}>
          {error.message} <span className="mono quiet">{error.code}</span>
        </Fact>
      ))}
      {batch.system && <Fact label={t("playground.system")}>{batch.system}</Fact>}
      {batch.model_versions.length > 0 && (
        <Fact label={t("inference.answeredBy")}>
          {batch.model_versions.map((name) => (
            <Ref key={name} name={name} />
          ))}
        </Fact>
      )}
      {batch.output_file && (
        <Fact label={t("inference.output")}>
          <Copyable value={batch.output_file} />
        </Fact>
      )}
      {batch.error_file && (
        <Fact label={t("inference.errors")}>
          <Copyable value={batch.error_file} />
        </Fact>
      )}
      <Fact label={t("inference.until")}>
        <Time value={batch.expire_time} />
      </Fact>
    </dl>
  );
}

function Fact({ label, children }: { label: string; children: React.ReactNode }) {
  return (
    <>
      <dt>{label}</dt>
      <dd>{children}</dd>
    </>
  );
}
