import { useQuery } from "@tanstack/react-query";
import { get } from "@/api/client";
import { kindOf, lastPart, partOf } from "@/api/names";
import { queryKey } from "@/api/queries";
import type { ApiKey, ListReply } from "@/api/types";
import { useI18n } from "@/i18n";
import { Nothing } from "./values";

const PARAMS = { page_size: 500 };

/** Who did something: a key by its name, a service or an application's user as it is called. */
export function Actor({ value }: { value: string }) {
  const { word } = useI18n();
  const isKey = partOf(value, "keys") !== "";
  const path = `/projects/${partOf(value, "projects")}/keys`;
  const keys = useQuery({
    queryKey: queryKey(path, PARAMS),
    queryFn: ({ signal }) => get<ListReply & { keys: ApiKey[] }>(path, PARAMS, signal),
    enabled: isKey,
    staleTime: 60_000,
    // Not everybody may see the keys of another project; the end of its id has to do then.
    retry: false,
  });
  if (!value) return <Nothing />;
  if (!isKey) return <span title={value}>{lastPart(value)}</span>;
  const name = keys.data?.keys.find((key) => key.name === value)?.display_name;
  return <span title={value}>{name || `${word("lineageKind", kindOf(value))} …${value.slice(-6)}`}</span>;
}
