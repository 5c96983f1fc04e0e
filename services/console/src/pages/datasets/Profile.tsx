import { useI18n } from "@/i18n";
import { Facts } from "@/ui/Page";
import { Nothing, Num } from "@/ui/values";

/** What the importer measured: numbers, and groups of numbers, by name. */
export function Profile({ json }: { json: string }) {
  const { t, word } = useI18n();
  const profile = json ? (JSON.parse(json) as Record<string, unknown>) : {};
  const facts = Object.entries(profile).filter(([name, value]) => name !== "slices" && isShown(value));
  if (!facts.length) return <span className="quiet">{t("dataset.profileEmpty")}</span>;
  return (
    <Facts
      rows={facts.map(([name, value]) => [word("profile", name, name), <Value key={name} value={value} />] as const)}
    />
  );
}

function Value({ value }: { value: unknown }) {
  const { word } = useI18n();
  if (typeof value === "number") return <Num value={value} digits={2} />;
  if (typeof value === "string") return <>{value}</>;
  if (!isGroup(value)) return <Nothing />;
  return (
    <span className="row wrap" style={{ gap: "2px 12px" }}>
      {Object.entries(value).map(([name, one]) => (
        <span key={name} className="nowrap">
          <span className="quiet">{word("profile", name, name)}</span>{" "}
          {typeof one === "number" ? <Num value={one} digits={2} /> : String(one)}
        </span>
      ))}
    </span>
  );
}

function isGroup(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function isShown(value: unknown): boolean {
  return (
    typeof value === "number" ||
    (typeof value === "string" && value !== "") ||
    (isGroup(value) && Object.keys(value).length > 0)
  );
}
