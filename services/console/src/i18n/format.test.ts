import { expect, test } from "vitest";
import {
  durationSeconds,
  formatBytes,
  formatCost,
  formatDuration,
  formatPercent,
  formatPoints,
  formatTime,
} from "./format";

test("a size has a unit and three significant digits at most", () => {
  expect([0, 999, 1000, 812_345, 144_811_008, 1_204_000_000].map(formatBytes)).toEqual([
    "0 B",
    "999 B",
    "1 kB",
    "812 kB",
    "145 MB",
    "1.2 GB",
  ]);
});

test("a duration takes the units that suit its length", () => {
  expect([0.34, 12, 125, 3840].map((seconds) => formatDuration("en-US", seconds))).toEqual([
    "340 ms",
    "12 s",
    "2 min 05 s",
    "1 h 04 min",
  ]);
  expect(formatDuration("zh-CN", 125)).toBe("2 分 05 秒");
  expect(formatDuration("en-US", 0)).toBe("0 s");
});

test("a small cost is not shown as nothing", () => {
  expect([0, 410, 12_400, 1_500_000].map((cost) => formatCost("en-US", cost))).toEqual([
    "$0.00",
    "$0.00041",
    "$0.012",
    "$1.50",
  ]);
});

test("a time names its zone", () => {
  expect(formatTime("en-US", "2026-11-24T15:48:00Z", new Date("2026-12-01"))).toMatch(/^Nov 24 .*\d\d:48 \S+/);
  expect(formatTime("zh-CN", "2026-11-24T15:48:00Z", new Date("2026-12-01"))).toMatch(/^11月\d\d日 \d\d:48 \S+/);
  expect(formatTime("en-US", "2024-02-01T12:00:00Z", new Date("2026-12-01"))).toContain("2024");
});

test("a difference has its sign", () => {
  expect(formatPoints("en-US", 0.824)).toBe("+82.4");
  expect(formatPoints("en-US", -0.029)).toBe("-2.9");
  expect(formatPercent("en-US", 0.902)).toBe("90.2%");
});

test("a proto duration is read as seconds", () => {
  expect(durationSeconds("83.5s")).toBe(83.5);
  expect(durationSeconds(null)).toBeUndefined();
});
