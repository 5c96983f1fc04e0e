/** What a link to the playground says: models, settings and a prompt's name, never a text that somebody wrote. */

export const MOST_MODELS = 4;

export interface Settings {
  temperature: number;
  max_tokens: number;
  system: string;
}

export interface Lane extends Settings {
  /** As the OpenAI endpoint takes it: `hotline`, or `hotline@2` for one version. */
  model: string;
}

export const DEFAULTS: Settings = { temperature: 0, max_tokens: 256, system: "" };

/** A prompt of the project and its version: a number or a label. */
export interface PromptChoice {
  id: string;
  version: string;
}

export function promptOf(address: URLSearchParams): PromptChoice | undefined {
  const id = address.get("prompt");
  return id ? { id, version: address.get("version") ?? "" } : undefined;
}

/**
 * The lanes of an address, or of `others` with its settings. A value that is given once is everybody's; what is missing
 * or odd is the default.
 */
export function lanesOf(address: URLSearchParams, others?: readonly string[]): Lane[] {
  const models = others ?? address.getAll("deployment").filter(Boolean).slice(0, MOST_MODELS);
  const temperatures = numbers(address.getAll("temperature"), 0, 2);
  const lengths = numbers(address.getAll("max_tokens"), 1, 4096);
  return models.map((model, at) => ({
    model,
    temperature: temperatures[at] ?? temperatures[0] ?? DEFAULTS.temperature,
    max_tokens: Math.round(lengths[at] ?? lengths[0] ?? DEFAULTS.max_tokens),
    system: "",
  }));
}

export function addressOf(lanes: readonly Lane[], prompt?: PromptChoice): URLSearchParams {
  const address = new URLSearchParams();
  for (const lane of lanes) address.append("deployment", lane.model);
  append(
    address,
    "temperature",
    lanes.map((lane) => lane.temperature),
    DEFAULTS.temperature,
  );
  append(
    address,
    "max_tokens",
    lanes.map((lane) => lane.max_tokens),
    DEFAULTS.max_tokens,
  );
  if (prompt) address.set("prompt", prompt.id);
  if (prompt?.version) address.set("version", prompt.version);
  return address;
}

function append(address: URLSearchParams, name: string, values: number[], usual: number) {
  const same = new Set(values).size <= 1;
  if (same && (values[0] ?? usual) === usual) return;
  for (const value of same ? values.slice(0, 1) : values) address.append(name, String(value));
}

function numbers(texts: string[], least: number, most: number): (number | undefined)[] {
  return texts.map((text) => {
    const value = Number(text);
    return text.trim() && value >= least && value <= most ? value : undefined;
  });
}
