import { lastPart } from "@/api/names";
import { useGet, useProject } from "@/api/queries";
import type { Fit } from "@/api/types";
import { useI18n } from "@/i18n";
import { Panel } from "@/ui/Page";
import { Bytes } from "@/ui/values";

/** Whether a version fits into the memory that there is; `name` is one that is ready. */
export function Memory({ name }: { name: string }) {
  const { t, word } = useI18n();
  const project = useProject();
  const fit = useGet<Fit>(`/projects/${project}/fit`, { name });
  if (!fit.data) return null; // a scheduler that is away says so elsewhere
  const { verdict, flavors } = fit.data;
  const isTooLarge = verdict === "VERDICT_TOO_LARGE";
  return (
    <Panel title={t("memory.title")}>
      <div className="stack-s">
        <strong role={isTooLarge ? "alert" : undefined} style={isTooLarge ? { color: "var(--bad)" } : undefined}>
          {word("memory", verdict.replace("VERDICT_", ""))}
        </strong>
        <span className="row wrap">
          <span>
            {t("memory.needs")} <Bytes value={fit.data.needed_bytes} />
          </span>
          <span className="quiet">
            {t("memory.weights")} <Bytes value={fit.data.weights_bytes} /> · {t("memory.cache")}{" "}
            <Bytes value={fit.data.kv_cache_bytes} />
          </span>
          <span className="grow" />
          {flavors.map((flavor) => (
            <span key={flavor.flavor} className={flavor.fits ? "chip accent" : "chip"}>
              {lastPart(flavor.flavor)} · <Bytes value={flavor.usable_bytes} /> ·{" "}
              {flavor.fits ? t("memory.fits") : t("memory.tooSmall")}
            </span>
          ))}
        </span>
      </div>
    </Panel>
  );
}
