import type { ApiKey, BudgetPeriod, Limits, Project } from "@/api/types";

export const PERIODS: BudgetPeriod[] = ["BUDGET_PERIOD_DAY", "BUDGET_PERIOD_MONTH", "BUDGET_PERIOD_TOTAL"];

/** What the form shows; an empty or 0 field is no limit. */
export interface LimitValues {
  requests_per_minute?: number | null;
  tokens_per_minute?: number | null;
  concurrent_requests?: number | null;
  budget_usd?: number | null;
  budget_tokens?: number | null;
  budget_period: BudgetPeriod;
}

export function valuesOf({ requests_per_minute, limits }: Pick<ApiKey | Project, "requests_per_minute" | "limits">) {
  return {
    requests_per_minute: requests_per_minute || null,
    tokens_per_minute: Number(limits?.tokens_per_minute) || null,
    concurrent_requests: limits?.concurrent_requests || null,
    budget_usd: Number(limits?.budget_microusd) / 1e6 || null,
    budget_tokens: Number(limits?.budget_tokens) || null,
    budget_period: limits?.budget_period ?? "BUDGET_PERIOD_MONTH",
  } satisfies LimitValues;
}

/** As the server takes them: limits are replaced as a whole. */
export function bodyOf(values: LimitValues): { requests_per_minute: number; limits: Limits } {
  return {
    requests_per_minute: values.requests_per_minute ?? 0,
    limits: {
      tokens_per_minute: String(values.tokens_per_minute ?? 0),
      concurrent_requests: values.concurrent_requests ?? 0,
      budget_tokens: String(values.budget_tokens ?? 0),
      budget_microusd: String(Math.round((values.budget_usd ?? 0) * 1e6)),
      budget_period: values.budget_period,
    },
  };
}
