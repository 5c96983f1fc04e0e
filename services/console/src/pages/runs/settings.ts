import { useList, useProject } from "@/api/queries";
import type { Hyperparameters, Method, TrainingMethod } from "@/api/types";
import { useI18n } from "@/i18n";

interface Words {
  title: string;
  description?: string;
}

/** One property of the JSON Schema that the trainers give for a method. */
interface Property extends Words {
  type: "integer" | "number" | "boolean" | "string" | "array";
  default?: unknown;
  enum?: string[];
  items?: { enum?: string[] };
  minimum?: number;
  exclusiveMinimum?: number;
  maximum?: number;
  exclusiveMaximum?: number;
  "x-zh": Words;
  "x-order"?: number;
}

/** `path` is where its value lies in `hyperparameters`: those that a method alone knows are under `own`. */
export interface Setting extends Omit<Property, "x-zh" | "x-order"> {
  path: string[];
}

export type SettingValue = string | number | boolean | string[];

function useMethods(): TrainingMethod[] {
  const project = useProject();
  return useList<"methods", TrainingMethod>(`/projects/${project}/methods`).data?.methods ?? [];
}

type Schema = "settings_schema" | "health_schema";

/** What can be set of a method, or what its runs are watched for, in the reader's language; nothing until it is known. */
export function useSettings(method: Method | undefined, schema: Schema = "settings_schema"): Setting[] {
  const { language } = useI18n();
  const found = useMethods().find((one) => one.method === method);
  return settingsOf(found?.[schema], language === "zh-CN");
}

/** The names of settings, whichever method they are of. */
export function useSettingNames(): (name: string) => string {
  const { language } = useI18n();
  const all = useMethods().flatMap((one) => settingsOf(one.settings_schema, language === "zh-CN"));
  return (name) => all.find((one) => one.path.at(-1) === name)?.title ?? name;
}

export function settingsOf(schema: Record<string, unknown> | null | undefined, inChinese: boolean): Setting[] {
  const properties = (schema?.properties ?? {}) as Record<string, Property & { properties?: Record<string, Property> }>;
  const { own, ...common } = properties;
  const inOrder = (of: Record<string, Property>) =>
    Object.entries(of).sort(([, a], [, b]) => (a["x-order"] ?? 0) - (b["x-order"] ?? 0));
  const localised = ({ "x-zh": zh, "x-order": _, ...rest }: Property, path: string[]): Setting => ({
    ...rest,
    ...(inChinese ? { title: zh.title, description: zh.description } : {}),
    path,
  });
  return [
    ...inOrder(common).map(([name, one]) => localised(one, [name])),
    ...inOrder(own?.properties ?? {}).map(([name, one]) => localised(one, ["own", name])),
  ];
}

/** All that is set, by name, whether common or the method's own. */
export function flat(values: Hyperparameters | null | undefined): Record<string, SettingValue> {
  const { own, ...common } = values ?? {};
  const all = { ...common, ...(own ?? {}) } as Record<string, SettingValue | null>;
  return Object.fromEntries(Object.entries(all).filter((entry): entry is [string, SettingValue] => entry[1] != null));
}
