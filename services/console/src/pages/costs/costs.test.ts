import { describe, expect, it } from "vitest";
import type { ApiKey, UsageRow } from "@/api/types";
import { forecast } from "./forecast";
import { MONTH_HOURS, ownStairs, reach, rentedLine } from "./staircase";
import { daysBetween, seriesOf, sums, titlesOf, toCsv, withUnused } from "./usage";

function row(day: string, deployment: string, cost: number, given: Partial<UsageRow> = {}): UsageRow {
  return {
    day: `${day}T00:00:00Z`,
    api_key: "projects/p/keys/01",
    deployment: `projects/p/deployments/${deployment}`,
    model_version: "",
    upstream_model: "big",
    request_count: "1",
    prompt_tokens: "10",
    completion_tokens: "5",
    cost_microusd: String(cost),
    ...given,
  };
}

const ROWS = [
  row("2026-11-01", "a", 1),
  row("2026-11-02", "b", 5),
  row("2026-11-02", "c", 2),
  row("2026-11-02", "a", 3),
];
const DAYS = daysBetween(new Date("2026-11-01T15:00:00Z"), new Date("2026-11-03T02:00:00Z"));

describe("usage", () => {
  it("is summed by group, most first", () => {
    expect(sums(ROWS, "deployment", "cost").map((sum) => [sum.id.slice(-1), sum.cost])).toEqual([
      ["b", 5],
      ["a", 4],
      ["c", 2],
    ]);
    expect(sums(ROWS, "model", "tokens")).toEqual([
      { id: "big", requests: 4, promptTokens: 40, answerTokens: 20, cost: 11 },
    ]);
  });

  it("has titles for keys, and for the one that lists leave out", () => {
    const key = (name: string, display_name: string) => ({ name, display_name, prefix: "gyre-ab" }) as ApiKey;
    const list = (keys: ApiKey[], total_size = keys.length) =>
      new Map([["p", { keys, total_size, next_page_token: "" }]]);
    const rows = ["projects/p/keys/1", "projects/p/keys/2", "projects/q/keys/9"].map((api_key) =>
      row("", "", 0, { api_key }),
    );
    const mine = list([key("projects/p/keys/1", "front desk")]);
    expect([...titlesOf(mine, rows, "Playground")]).toEqual([
      ["projects/p/keys/1", "front desk"],
      ["projects/p/keys/2", "Playground"],
    ]);
    const part = list([key("projects/p/keys/1", "")], 600);
    expect([...titlesOf(part, rows, "Playground")]).toEqual([["projects/p/keys/1", "gyre-ab…"]]);
  });

  it("shows what used nothing with zeros, last", () => {
    const shown = withUnused(sums(ROWS, "key", "cost"), ["projects/p/keys/00", "projects/p/keys/01"]);
    expect(shown.map((sum) => [sum.id.slice(-2), sum.requests, sum.cost])).toEqual([
      ["01", 4, 11],
      ["00", 0, 0],
    ]);
  });

  it("has a value for every day, and the small groups together", () => {
    expect(DAYS).toEqual(["2026-11-01", "2026-11-02", "2026-11-03"]);
    expect(seriesOf(ROWS, DAYS, "deployment", "cost", 1)).toEqual([
      { id: "projects/p/deployments/b", values: [0, 5, 0] },
      { id: "", values: [1, 5, 0] },
    ]);
  });

  it("becomes a file in which no title is a formula", () => {
    const keys = new Map([["projects/p/keys/01", '=HYPERLINK("http://x")']]);
    const [, line] = toCsv(ROWS.slice(0, 1), keys).split("\r\n");
    expect(line).toBe(
      `2026-11-01,projects/p/keys/01,"'=HYPERLINK(""http://x"")",projects/p/deployments/a,,big,1,10,5,0.000001`,
    );
  });
});

describe("a budget", () => {
  const now = new Date("2026-11-10T00:00:00Z");
  const end = new Date("2026-12-01T00:00:00Z");

  it("is used up on the day that its pace says", () => {
    expect(forecast(40, 100, 6, now, end)).toEqual({ kind: "on", day: new Date("2026-11-20T00:00:00Z") });
  });

  it("lasts where its period ends before, where nobody uses it, and for a year at most", () => {
    expect(forecast(40, 100, 2, now, end)).toEqual({ kind: "lasts" });
    expect(forecast(40, 100, 0, now, end)).toEqual({ kind: "lasts" });
    expect(forecast(0, 1000, 1, now)).toEqual({ kind: "lasts" });
  });

  it("that is used up says so", () => {
    expect(forecast(100, 100, 0, now, end)).toEqual({ kind: "used" });
  });
});

describe("rent or own", () => {
  it("renting is a line by the mix of prompts and answers", () => {
    const rented = { name: "r", input_price_microusd: 1e6, output_price_microusd: 4e6 };
    expect(rentedLine(rented, 3, 10).points).toEqual([
      [0, 0],
      [10, 70],
    ]);
  });

  it("owning is a staircase of machines", () => {
    const month = 2 * MONTH_HOURS;
    expect(ownStairs({ name: "o", hour_microusd: 2, capacity_tokens: 100 }, 150).points).toEqual([
      [0, month],
      [100, month],
      [100, 2 * month],
      [150, 2 * month],
    ]);
  });

  it("the chart reaches beyond the traffic and where the two meet", () => {
    expect(reach(100, [null, 1000])).toBe(1300);
    expect(reach(0, [null])).toBeCloseTo(1.3);
  });
});
