import { partOf } from "@/api/names";
import type { PromptVersion } from "@/api/types";

/** The playground's address with this version chosen, and with what its parameters say of the playground's settings. */
export function playgroundAddress(
  version: Pick<PromptVersion, "name" | "number" | "parameters_json">,
): URLSearchParams {
  const { temperature, max_tokens } = JSON.parse(version.parameters_json || "{}") as Record<string, unknown>;
  const address = new URLSearchParams({ prompt: partOf(version.name, "prompts"), version: String(version.number) });
  if (typeof temperature === "number") address.set("temperature", String(temperature));
  if (typeof max_tokens === "number") address.set("max_tokens", String(max_tokens));
  return address;
}
