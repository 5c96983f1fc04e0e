/** What every error reply says (RFC 9457), with the reason and the facts that our services add. */
export interface Problem {
  title: string;
  detail: string;
  status: number;
  reason: string;
  metadata: Record<string, string>;
}

export class ApiError extends Error {
  readonly problem: Problem;

  constructor(problem: Problem) {
    super(problem.detail || problem.title);
    this.problem = problem;
  }

  get status(): number {
    return this.problem.status;
  }
}

export type Params = Record<string, string | number | undefined>;

export function url(path: string, params: Params = {}): string {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(params)) {
    if (value !== undefined && value !== "") query.set(name, String(value));
  }
  const text = query.toString();
  return `/api/v1${path}${text ? `?${text}` : ""}`;
}

export function get<T>(path: string, params?: Params, signal?: AbortSignal): Promise<T> {
  return send<T>("GET", url(path, params), undefined, signal);
}

export function post<T>(path: string, body: object = {}): Promise<T> {
  return send<T>("POST", url(path), body);
}

export function patch<T>(path: string, body: object): Promise<T> {
  return send<T>("PATCH", url(path), body);
}

export function remove<T>(path: string): Promise<T> {
  return send<T>("DELETE", url(path));
}

export async function getText(path: string, params?: Params, signal?: AbortSignal): Promise<string> {
  const reply = await call("GET", url(path, params), undefined, signal);
  return reply.text();
}

/** Sends JSON and returns the reply itself, for streams. */
export async function call(method: string, address: string, body?: object, signal?: AbortSignal): Promise<Response> {
  const headers: Record<string, string> = { Accept: "application/json" };
  if (body) headers["Content-Type"] = "application/json";
  let reply: Response;
  try {
    reply = await fetch(address, {
      method,
      headers,
      body: body && JSON.stringify(body),
      signal,
      credentials: "same-origin",
    });
  } catch (error) {
    if (error instanceof DOMException && error.name === "AbortError") throw error;
    throw new ApiError(unreachable());
  }
  if (!reply.ok) throw new ApiError(toProblem(reply.status, await reply.text()));
  return reply;
}

async function send<T>(method: string, address: string, body?: object, signal?: AbortSignal): Promise<T> {
  const reply = await call(method, address, body, signal);
  const text = await reply.text();
  return (text ? JSON.parse(text) : undefined) as T;
}

export function unreachable(): Problem {
  return { title: "", detail: "", status: 0, reason: "UNREACHABLE", metadata: {} };
}

/** Reads a problem, or makes one of whatever a proxy in between has sent. */
export function toProblem(status: number, text: string): Problem {
  const found: Partial<Problem> & { error?: { message?: string; code?: string } } = parsed(text);
  return {
    title: found.title ?? "",
    detail: found.detail ?? found.error?.message ?? "",
    status,
    reason: found.reason ?? found.error?.code?.toUpperCase() ?? `HTTP_${status}`,
    metadata: found.metadata ?? {},
  };
}

function parsed(text: string): object {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === "object" && value !== null ? value : {};
  } catch {
    return {};
  }
}
