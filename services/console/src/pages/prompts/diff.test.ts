import { describe, expect, it } from "vitest";
import { diffLines, linesOf, piecesOf } from "./diff";

function shown(before: string, after: string): string {
  const sign = { same: " ", added: "+", removed: "-" };
  return diffLines(before.split(""), after.split(""))
    .map((line) => sign[line.kind] + line.text)
    .join("");
}

describe("the difference of two versions", () => {
  it("is nothing between equal ones", () => {
    expect(shown("abc", "abc")).toBe(" a b c");
    expect(diffLines([], [])).toEqual([]);
  });

  it("keeps what is common, in order, and puts what went before what came", () => {
    expect(shown("abcd", "axcd")).toBe(" a-b+x c d");
    expect(shown("abc", "abcabc")).toBe(" a b c+a+b+c");
    expect(shown("xay", "ay")).toBe("-x a y");
    expect(shown("abcde", "bxdy")).toBe("-a b-c+x d-e+y");
  });

  it("of two very long ones is all of both, not a page that hangs", () => {
    const long = (letter: string) => Array.from({ length: 30_000 }, (_, at) => `${letter}${at}`);
    const lines = diffLines(["first", ...long("a")], ["first", ...long("b")]);
    expect(lines.filter((line) => line.kind === "same")).toHaveLength(1);
    expect(lines).toHaveLength(60_001);
  });

  it("is of turns and parameters", () => {
    const version = { messages: [{ role: "user", content: "one\ntwo" }], parameters_json: '{"temperature": 0}' };
    expect(linesOf(version, (role) => role)).toEqual(["[user]", "one", "two", "{", '  "temperature": 0', "}"]);
    expect(linesOf({ messages: [], parameters_json: "" }, String)).toEqual([]);
  });
});

it("variables are cut out of a text by their names", () => {
  expect(piecesOf("You sort calls of {{ company }}, {{b}}{x} {{1}}.")).toEqual([
    "You sort calls of ",
    "company",
    ", ",
    "b",
    "{x} {{1}}.",
  ]);
});
