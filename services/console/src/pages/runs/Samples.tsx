import { useGet } from "@/api/queries";
import type { Run, Sample } from "@/api/types";
import { useI18n } from "@/i18n";
import { formatNumber } from "@/i18n/format";
import { Panel } from "@/ui/Page";
import { isOpen } from "@/ui/State";
import { Trouble } from "@/ui/Trouble";
import "./samples.css";

/** Milliseconds; they come with checkpoints. */
const POLL = 15_000;

/** What the model answered to a few prompts while it learnt; nothing where it was not asked. */
export function Samples({ run }: { run: Run }) {
  const { t } = useI18n();
  const list = useGet<{ samples: Sample[] }>(
    `/${run.name}/samples`,
    { page_size: 500 },
    { refetchInterval: isOpen(run.state) && POLL },
  );
  if (list.isError) return <Trouble error={list.error} retry={() => list.refetch()} />;
  const samples = list.data?.samples ?? [];
  const numbers = [...new Set(samples.map((sample) => sample.number))].sort((one, other) => one - other);
  if (!numbers.length) return null;
  return (
    <Panel title={t("samples.title")}>
      {numbers.map((number) => (
        <Question key={number} samples={samples.filter((sample) => sample.number === number)} />
      ))}
    </Panel>
  );
}

function Question({ samples }: { samples: Sample[] }) {
  const { t, language } = useI18n();
  const [first] = samples;
  if (!first) return null;
  return (
    <dl className="samples">
      <dt className="quiet">{t("samples.prompt")}</dt>
      <dd>{first.prompt}</dd>
      <dt className="quiet">{t("samples.expected")}</dt>
      <dd>{first.expected}</dd>
      {samples.map((sample) => (
        <div key={sample.name}>
          <dt className="quiet num">{t("run.atStep", { step: formatNumber(language, sample.step) })}</dt>
          <dd>{sample.answer || "–"}</dd>
        </div>
      ))}
    </dl>
  );
}
