import { expect, test } from "vitest";
import { fromLocal, isFiltered, paramsOf, rareCount, toLocal } from "./filters";

const NOW = new Date("2026-11-27T14:05:31Z");

test("the last hours are counted from the minute, so that the question stays the same within it", () => {
  expect(paramsOf(new URLSearchParams("since=1&q=x"), NOW)).toMatchObject({ start_time: "2026-11-27T13:05:00.000Z" });
  expect(paramsOf(new URLSearchParams(""), NOW)).toMatchObject({ start_time: "", end_time: "", api_key: "" });
});

test("a time that somebody gave comes before the last hours", () => {
  const address = new URLSearchParams({ since: "1", start_time: "2026-11-01T00:00:00Z" });
  expect(paramsOf(address, NOW)).toMatchObject({ start_time: "2026-11-01T00:00:00Z" });
  expect(paramsOf(address, NOW)).not.toHaveProperty("since");
});

test("what is looked for is counted", () => {
  expect(isFiltered(new URLSearchParams("q=x&order=y"))).toBe(false);
  const address = new URLSearchParams("deployment=a&api_key=k&finish_reason=stop");
  expect([isFiltered(address), rareCount(address)]).toEqual([true, 2]);
});

test("a moment goes through a field for local times and comes back", () => {
  expect(fromLocal(toLocal("2026-11-27T14:05:00Z"))).toBe("2026-11-27T14:05:00.000Z");
  expect([toLocal(""), toLocal("yesterday"), fromLocal("")]).toEqual(["", "", ""]);
});
