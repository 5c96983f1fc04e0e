import { useI18n } from "@/i18n";
import { formatNumber } from "@/i18n/format";
import "./progress.css";

interface Props {
  done: number;
  total: number;
  /** Whether it goes on; a bar that stopped is not coloured as if it did. */
  live?: boolean;
  bare?: boolean;
}

export function ProgressBar({ done, total, live = false, bare = false }: Props) {
  const { t, language } = useI18n();
  const share = total > 0 ? Math.min(done / total, 1) : 0;
  const number = (value: number) => formatNumber(language, value);
  return (
    <div className="progress-line">
      <div
        className={live ? "progress live" : "progress"}
        role="progressbar"
        aria-valuemin={0}
        aria-valuemax={total}
        aria-valuenow={done}
        aria-label={t("progress.label")}
      >
        <i style={{ width: `${share * 100}%` }} />
      </div>
      {!bare && <span className="num quiet nowrap">{total > 0 ? `${number(done)} / ${number(total)}` : "–"}</span>}
    </div>
  );
}
