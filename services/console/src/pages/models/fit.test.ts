import { expect, test } from "vitest";
import { NotRows, toJsonLines } from "./fit";

test("cells of a spreadsheet become conversations", () => {
  expect(toJsonLines("Where?\tHere.\r\n\nWho?\tWe, daily.\n")).toBe(
    '{"messages":[{"role":"user","content":"Where?"},{"role":"assistant","content":"Here."}]}\n' +
      '{"messages":[{"role":"user","content":"Who?"},{"role":"assistant","content":"We, daily."}]}\n',
  );
});

test("JSON lines stay as they are", () => {
  expect(toJsonLines('{"messages": []}\n{"a": 1}')).toBe('{"messages": []}\n{"a": 1}\n');
});

test("a line without an answer, nothing, and too much are refused", () => {
  expect(() => toJsonLines("Where?\tHere.\nWho?")).toThrow(NotRows);
  expect(() => toJsonLines("  \n")).toThrow(NotRows);
  expect(() => toJsonLines("a\tb\n".repeat(201))).toThrow(NotRows);
});
