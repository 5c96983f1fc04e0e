import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { fill } from "./dictionary";
import { en } from "./en";
import { zh } from "./zh";

const PROTO = join(import.meta.dirname, "../../../../proto/gyre");
const DECISIONS = join(import.meta.dirname, "../../../gpu_scheduler/decisions/reasons.py");
const TYPES = readFileSync(join(import.meta.dirname, "../api/types.gen.ts"), "utf-8");
const english: Record<string, string> = en;
const chinese: Record<string, string> = zh;

/** Names that stay as they are in every language. */
const NAMES = new RegExp(
  [
    "Gyre|SmolLM2 135M Instruct|LoRA|JSONL?|CSV|Parquet|GGUF|Alpaca|ShareGPT|OpenAI|UTF-8|GB18030|ZIP|TAR",
    "[Ss]afetensors|llama\\.cpp|vLLM|TGI|Esc|Shift|admin\\.key|production|http://\\S+|department|urgency",
    "system|user|assistant|\\ben\\b|\\bzh\\b|\\bGPU\\b|AWQ|GPTQ|FP8|llm-compressor",
  ].join("|"),
  "g",
);

function placeholders(text: string): string[] {
  return [...new Set([...text.matchAll(/\{(\w+)/g)].map((found) => found[1] ?? ""))].sort();
}

test("both languages have the same keys", () => {
  expect(Object.keys(chinese).sort()).toEqual(Object.keys(english).sort());
});

test("a translation asks for no value that the source does not give", () => {
  const surplus = Object.keys(english).filter((key) => {
    const given = placeholders(english[key] ?? "");
    return placeholders(chinese[key] ?? "").some((name) => !given.includes(name));
  });
  expect(surplus).toEqual([]);
});

test("a translation leaves no value out but the one that chooses a plural", () => {
  const lost = Object.keys(english).filter((key) => {
    const shown = [...(english[key] ?? "").matchAll(/\{(\w+)\}/g)].map((found) => found[1] ?? "");
    return shown.some((name) => !placeholders(chinese[key] ?? "").includes(name));
  });
  expect(lost).toEqual([]);
});

test("no Chinese text has an English word in it", () => {
  const left = Object.entries(chinese).filter(([, text]) => {
    const plain = text.replace(/\{[^}]*\}/g, "").replace(NAMES, "");
    return /[A-Za-z]{2,}/.test(plain);
  });
  expect(left).toEqual([]);
});

test("no text is empty", () => {
  expect(Object.entries({ ...english, ...chinese }).filter(([, text]) => !text.trim())).toEqual([]);
});

test("every state that a resource can be in has a word", () => {
  const states = [...TYPES.matchAll(/"STATE_(\w+)"/g)].map((found) => `state.${found[1]}`);
  expect(states.filter((key) => !(key in english))).toEqual([]);
});

test("every reason that the protos name for a refusal has words", () => {
  const named = protoFiles().flatMap((file) => reasons(readFileSync(file, "utf-8")));
  expect([...new Set(named)].filter((reason) => !(`reason.${reason}` in english)).sort()).toEqual([]);
});

test("every reason to wait and every rule to give way has words", () => {
  const named = [...membersOf("Reason", "reason"), ...membersOf("Rule", "rule")];
  expect(named).toContain("rule.RECLAIM");
  expect(named.filter((key) => !(key in english))).toEqual([]);
});

test("no text is given twice", () => {
  const twice = ["en", "zh"].flatMap((language) => {
    const keys = topics(language).flatMap((text) => [...text.matchAll(/^ {2}"([^"]+)":/gm)].map((found) => found[1]));
    return keys.filter((key, at) => keys.indexOf(key) !== at);
  });
  expect(twice).toEqual([]);
});

test("a plural is chosen by its number", () => {
  expect(fill("{n} {n|row|rows}", { n: 1 })).toBe("1 row");
  expect(fill("{n} {n|row|rows}", { n: 0 })).toBe("0 rows");
});

test("an unknown placeholder stays to be seen", () => {
  expect(fill("{who} did it")).toBe("{who} did it");
});

function protoFiles(): string[] {
  return readdirSync(PROTO, { recursive: true, encoding: "utf-8" })
    .filter((path) => path.endsWith("_service.proto"))
    .map((path) => join(PROTO, path));
}

function topics(language: string): string[] {
  const folder = join(import.meta.dirname, language);
  return readdirSync(folder).map((file) => readFileSync(join(folder, file), "utf-8"));
}

/** What one of the scheduler's enums can be, as keys of `topic`. */
function membersOf(name: string, topic: string): string[] {
  const [, body = ""] = readFileSync(DECISIONS, "utf-8").split(`class ${name}(StrEnum):`);
  const [members = ""] = body.split(/^\S/m);
  return [...members.matchAll(/^ {4}(\w+) = "/gm)].map((found) => `${topic}.${found[1]}`);
}

/** Codes of services' own side of the contract, which no caller of REST can meet. */
const INTERNAL =
  /^(SERVICES_ONLY|PROXY_ONLY|MODULE_NOT_ALLOWED|SPEC_DIFFERS|STALE_ATTEMPT|WRONG_RUN|BATCH_TOO_LARGE|HEADER_REQUIRED|MANIFEST_OUTSIDE_PREFIX|FLAVOR_NOT_FOUND)$/;

/** In comments as `CODE (REASON, REASON)`. */
function reasons(text: string): string[] {
  const prose = text.replace(/\n\s*\/\/\s?/g, " ");
  return [...prose.matchAll(/\(([A-Z0-9_]+(?:, [A-Z0-9_]+)*)\)/g)]
    .flatMap((found) => (found[1] ?? "").split(", "))
    .filter((code) => code.includes("_") && !INTERNAL.test(code));
}
