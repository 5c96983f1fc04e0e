/** Resource names: `projects/{p}/datasets/{slug}/versions/{n}`. */

/** `3` of `projects/p/datasets/d/versions/3`. */
export function lastPart(name: string): string {
  return name.slice(name.lastIndexOf("/") + 1);
}

/** The id that follows `collection`; empty if there is none. */
export function partOf(name: string, collection: string): string {
  const parts = name.split("/");
  for (let i = 0; i + 1 < parts.length; i += 2) if (parts[i] === collection) return parts[i + 1] ?? "";
  return "";
}

/** What people call it: `hotline v3`, `hotline v3 q8-0`, `hotline@production`, or the last part. */
export function shortName(name: string): string {
  const parts = name.split("/");
  const owner = partOf(name, "datasets") || partOf(name, "models") || partOf(name, "prompts");
  const version = partOf(name, "versions");
  const variant = partOf(name, "variants");
  const alias = partOf(name, "aliases");
  const experiment = partOf(name, "experiments");
  if (experiment) return `${partOf(name, "deployments")}/${experiment}`;
  if (owner && alias) return `${owner}@${alias}`;
  if (owner && version) return `${owner} v${version}${variant ? ` ${variantLabel(variant)}` : ""}`;
  return parts.at(-1) ?? name;
}

/** A quantisation, and behind it the data set version that it was calibrated on. */
const CALIBRATED = /^(q\d-\w(?:-\w)?|awq|gptq)-(.+)-(\d+)$/;

/** `Q8_0` of `q8-0`, `HF` of `hf`, `Q4_K_M · hotline v1` of `q4-k-m-hotline-1`. */
export function variantLabel(id: string): string {
  const [, quantisation, data, version] = CALIBRATED.exec(id) ?? [];
  if (quantisation) return `${variantLabel(quantisation)} · ${data} v${version}`;
  return id.toUpperCase().replaceAll("-", "_");
}

const ODD_SINGULARS: Record<string, string> = {
  batches: "batch",
  aliases: "alias",
  auditEntries: "audit_entry",
  inferenceBatches: "batch_of_questions",
};

/** What a project has one of: `projects/p/trafficPolicy`. */
const SINGLES = /^projects\/[^/]+\/(?:trafficPolicy|licencePolicy)$/;

/** `run`, `dataset_version`, `variant` …: what kind of thing a name names. */
export function kindOf(name: string): string {
  if (SINGLES.test(name)) return lastPart(name);
  const collection = name.split("/").at(-2) ?? "";
  if (collection === "versions") return partOf(name, "datasets") ? "dataset_version" : "model_version";
  return ODD_SINGULARS[collection] ?? collection.replace(/s$/, "");
}

/** The path in the console of a resource; undefined for what has no page. */
export function pagePath(name: string): string | undefined {
  const project = partOf(name, "projects");
  const kept = partOf(name, "completions") || partOf(name, "traces");
  if (project && kept) return `/p/${project}/traces/${kept}`;
  if (project && partOf(name, "inferenceBatches")) return `/p/${project}/batches`;
  if (SINGLES.test(name)) return `/p/${project}/access`;
  const pages = [
    "datasets",
    "runs",
    "pipelines",
    "models",
    "evaluations",
    "deployments",
    "feedback",
    "prompts",
    "workloads",
  ] as const;
  const collection = pages.find((page) => partOf(name, page));
  if (!project || !collection) return undefined;
  if (collection === "feedback" || collection === "deployments")
    return `/p/${project}/${collection}?open=${partOf(name, collection)}`;
  const base = `/p/${project}/${collection}/${partOf(name, collection)}`;
  const version = partOf(name, "versions");
  return version ? `${base}?version=${version}` : base;
}

/** A state without its prefix: `RUNNING` of `STATE_RUNNING`, `SFT` of `METHOD_SFT`. */
export function bare(value: string): string {
  return value.replace(
    /^(STATE|TYPE|METHOD|KIND|FORMAT|ENGINE|ROLE|RATING|SPLIT|OUTCOME|TERM|ACTION|MODE|ROW_FORMAT|FILE_TYPE|BUDGET_PERIOD|STRATEGY|POLICY|PRESET)_/,
    "",
  );
}

/** A name part out of free text: lower case, digits and hyphens. */
export function slugify(text: string): string {
  return text
    .normalize("NFKD")
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, "-")
    .replace(/^-+|-+$/g, "")
    .slice(0, 63);
}

/** Makes a create call idempotent: chosen once, when the form opens. */
export function requestId(): string {
  return crypto.randomUUID();
}
