import type { en } from "./en";

export type Key = keyof typeof en;

/** Every key with a text of its own in another language: a missing key and a surplus one both fail to compile. */
export type Translation<Source> = { readonly [K in keyof Source]: string };

/** Names in braces: `{n}` and, in `{n|row|rows}`, `n`. */
type Placeholder<Text> = Text extends `${string}{${infer Inside}}${infer Rest}`
  ? (Inside extends `${infer Name}|${string}` ? Name : Inside) | Placeholder<Rest>
  : never;

export type Values = Readonly<Record<string, string | number>>;

/** Keys of texts without placeholders, for tables of labels. */
export type PlainKey = { [K in Key]: [Placeholder<(typeof en)[K]>] extends [never] ? K : never }[Key];

/** What `t` takes beside the key: nothing, or a value for each placeholder. */
export type Arguments<K extends Key> = [Placeholder<(typeof en)[K]>] extends [never]
  ? []
  : [Readonly<Record<Placeholder<(typeof en)[K]>, string | number>>];

/**
 * Fills `{name}`, and chooses in `{n|one|other}` by whether n is 1.
 * An unknown name stays as it is, so that it is seen.
 */
export function fill(text: string, values: Values = {}): string {
  return text.replace(/\{(\w+)(?:\|([^|}]*)\|([^}]*))?\}/g, (whole, name: string, one?: string, other?: string) => {
    const value = values[name];
    if (value === undefined) return whole;
    if (one === undefined || other === undefined) return String(value);
    return Number(value) === 1 ? one : other;
  });
}
