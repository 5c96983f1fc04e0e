/** Hours of a month, as the server counts: a year's twelfth. */
export const MONTH_HOURS = 730;

export interface Option {
  name: string;
  /** Millionths of a US dollar; `[generated tokens in a month, cost]`. */
  points: [number, number][];
}

export interface Renting {
  name: string;
  input_price_microusd: number;
  output_price_microusd: number;
}

export interface Owning {
  name: string;
  hour_microusd: number;
  capacity_tokens: number;
}

/** Renting: a straight line, with `inputShare` prompt tokens to each generated one. */
export function rentedLine(rented: Renting, inputShare: number, until: number): Option {
  const perToken = (inputShare * rented.input_price_microusd + rented.output_price_microusd) / 1e6;
  return {
    name: rented.name,
    points: [
      [0, 0],
      [until, until * perToken],
    ],
  };
}

/** More steps than this nobody can see. */
const MOST_STEPS = 200;

/** Owning: a staircase, one step for each machine that it takes. */
export function ownStairs(own: Owning, until: number): Option {
  const month = own.hour_microusd * MONTH_HOURS;
  const steps = Math.max(1, Math.ceil(until / own.capacity_tokens));
  if (steps > MOST_STEPS)
    return {
      name: own.name,
      points: [
        [0, month],
        [until, steps * month],
      ],
    };
  const points: [number, number][] = [];
  for (let step = 1; step <= steps; step++) {
    points.push([(step - 1) * own.capacity_tokens, step * month]);
    points.push([Math.min(step * own.capacity_tokens, until), step * month]);
  }
  return { name: own.name, points };
}

/** How far the chart goes: beyond the traffic and beyond the first points where owning becomes cheaper. */
export function reach(outputTokens: number, meetings: (number | null)[]): number {
  const known = meetings.filter((one): one is number => one !== null);
  return 1.3 * Math.max(outputTokens, ...known, 1);
}
