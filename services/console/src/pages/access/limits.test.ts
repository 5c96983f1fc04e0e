import { expect, test } from "vitest";
import { bodyOf, valuesOf } from "./limits";

test("what the form shows is what the server said, and goes back unchanged", () => {
  const limits = {
    tokens_per_minute: "60000",
    concurrent_requests: 4,
    budget_tokens: "0",
    budget_microusd: "50000",
    budget_period: "BUDGET_PERIOD_DAY",
  } as const;
  const shown = valuesOf({ requests_per_minute: 7, limits });
  expect(shown.budget_usd).toBe(0.05);
  expect(shown.budget_tokens).toBeNull();
  expect(bodyOf(shown)).toEqual({ requests_per_minute: 7, limits });
});

test("no limits are an empty form", () => {
  const shown = valuesOf({ requests_per_minute: 0, limits: null });
  expect(bodyOf(shown).limits.budget_microusd).toBe("0");
  expect(shown.budget_period).toBe("BUDGET_PERIOD_MONTH");
});
