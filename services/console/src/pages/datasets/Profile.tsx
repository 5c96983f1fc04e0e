import { bare } from "@/api/names";
import { useI18n } from "@/i18n";
import { formatNumber } from "@/i18n/format";
import { Facts } from "@/ui/Page";

const QUANTILES = ["min", "p50", "p90", "p99", "max", "mean"] as const;
type Quantiles = Record<(typeof QUANTILES)[number], number>;

/** What the importer writes to profile.json. */
interface Measures {
  characters?: Record<"user" | "answer" | "row", Quantiles>;
  turns?: Quantiles;
  histogram?: { from: number; rows: number }[];
  languages?: Record<string, number>;
  row_formats?: Record<string, number>;
  near_duplicates?: { groups: number; rows: number; largest: number };
  notes?: string[];
}

export function Profile({ json }: { json: string }) {
  const { t, word, language } = useI18n();
  const profile: Measures = json ? JSON.parse(json) : {};
  if (!profile.characters || !profile.turns) return <span className="quiet">{t("dataset.profileEmpty")}</span>;
  const counts = (prefix: string, of: Record<string, number> = {}) =>
    Object.entries(of)
      .map(([name, rows]) => `${word(prefix, bare(name))} ${formatNumber(language, rows)}`)
      .join(" · ");
  return (
    <div className="stack">
      {profile.notes?.map((note) => (
        <p key={note} className="second" lang="en">
          {note}
        </p>
      ))}
      <div className="halves">
        <Lengths characters={profile.characters} turns={profile.turns} />
        <Histogram bins={profile.histogram ?? []} />
      </div>
      <Facts
        rows={[
          [t("profile.languages"), counts("script", profile.languages) || "–"],
          [t("profile.formats"), counts("rowFormat", profile.row_formats) || "–"],
          [t("profile.groups"), formatNumber(language, profile.near_duplicates?.groups ?? 0)],
        ]}
      />
    </div>
  );
}

function Lengths({ characters, turns }: { characters: NonNullable<Measures["characters"]>; turns: Quantiles }) {
  const { t, word, language } = useI18n();
  const rows = [...Object.entries(characters), ["turns", turns] as const];
  return (
    <table className="measures">
      <thead>
        <tr>
          <th>{t("profile.lengths")}</th>
          {QUANTILES.map((name) => (
            <th key={name} className="right">
              {word("profile", name)}
            </th>
          ))}
        </tr>
      </thead>
      <tbody>
        {rows.map(([name, quantiles]) => (
          <tr key={name}>
            <td>{word("profile", name)}</td>
            {QUANTILES.map((quantile) => (
              <td key={quantile} className="right num">
                {formatNumber(language, quantiles[quantile], 1)}
              </td>
            ))}
          </tr>
        ))}
      </tbody>
    </table>
  );
}

function Histogram({ bins }: { bins: { from: number; rows: number }[] }) {
  const { t, language } = useI18n();
  const most = Math.max(1, ...bins.map((bin) => bin.rows));
  const last = bins.findLastIndex((bin) => bin.rows > 0);
  const number = (value: number) => formatNumber(language, value);
  return (
    <figure>
      <figcaption className="quiet">{t("profile.byLength")}</figcaption>
      <ul className="histogram">
        {bins.slice(0, last + 2).map((bin) => (
          <li key={bin.from} title={`${t("profile.from", { from: number(bin.from) })}: ${number(bin.rows)}`}>
            <span className="num quiet">{bin.rows > 0 && number(bin.rows)}</span>
            <i style={{ height: `${(bin.rows / most) * 72}px` }} />
            <span className="num quiet">{number(bin.from)}</span>
          </li>
        ))}
      </ul>
    </figure>
  );
}
