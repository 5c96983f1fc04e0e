import { Alert } from "antd";
import { bare, lastPart } from "@/api/names";
import { useGet, useProject } from "@/api/queries";
import type { Fit } from "@/api/types";
import { useI18n } from "@/i18n";
import { Bytes } from "@/ui/values";

const NOTICE = { TOO_LARGE: "error", FITS_ON_SOME: "warning", FITS: "success", NO_FLAVORS: "info" } as const;

/** Whether a version fits into the memory that there is; `name` is one that is ready. */
export function Memory({ name }: { name: string }) {
  const { t } = useI18n();
  const project = useProject();
  const fit = useGet<Fit>(`/projects/${project}/fit`, { name });
  if (!fit.data) return null; // a scheduler that is away says so elsewhere
  const { verdict, flavors } = fit.data;
  const kind = bare(verdict) as keyof typeof NOTICE;
  return (
    <Alert
      type={NOTICE[kind] ?? "info"}
      showIcon
      message={t(`memory.${kind}` as "memory.FITS")}
      description={
        <span className="row wrap">
          <span>{t("memory.needs")}</span>
          <Bytes value={fit.data.needed_bytes} />
          <span className="quiet">
            ({t("memory.weights")} <Bytes value={fit.data.weights_bytes} />, {t("memory.cache")}{" "}
            <Bytes value={fit.data.kv_cache_bytes} />)
          </span>
          {flavors.map((flavor) => (
            <span key={flavor.flavor} className={flavor.fits ? "chip" : "chip bad"}>
              {lastPart(flavor.flavor)} <Bytes value={flavor.usable_bytes} />{" "}
              {flavor.fits ? t("memory.fits") : t("memory.tooSmall")}
            </span>
          ))}
        </span>
      }
    />
  );
}
