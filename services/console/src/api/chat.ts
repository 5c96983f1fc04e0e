import { call, url } from "./client";

export interface Turn {
  role: "system" | "user" | "assistant";
  content: string;
}

export interface Answer {
  /** The completion's id, by which feedback finds it. */
  id: string;
  text: string;
  firstTokenMs?: number;
  totalMs?: number;
  promptTokens?: number;
  completionTokens?: number;
  finishReason?: string;
  /** Of the model, where the deployment knows it. */
  version?: string;
}

interface Chunk {
  id?: string;
  choices?: { delta?: { content?: string | null }; finish_reason?: string | null }[];
  usage?: { prompt_tokens: number; completion_tokens: number } | null;
  error?: { message: string };
}

/** A prompt of the project, which the gateway fills in before the messages. */
export interface PromptWish {
  id: string;
  /** A number or a label. */
  version: string;
  variables: Record<string, string>;
}

export interface Asked {
  model: string;
  messages: Turn[];
  temperature: number;
  max_tokens: number;
  prompt?: PromptWish;
}

/** Streams one answer; `onAnswer` sees it grow. Raises: ApiError before the first token, Error when it breaks off. */
export async function chat(
  project: string,
  asked: Asked,
  onAnswer: (answer: Answer) => void,
  signal: AbortSignal,
): Promise<void> {
  const body = { ...asked, stream: true, stream_options: { include_usage: true } };
  const started = performance.now();
  const reply = await call("POST", url(`/projects/${project}/chat/completions`), body, signal);
  if (!reply.body) return;
  let answer: Answer = { id: "", text: "", version: reply.headers.get("x-gyre-version") ?? undefined };
  for await (const data of serverEvents(reply.body)) {
    if (data === "[DONE]") break;
    answer = grow(answer, JSON.parse(data) as Chunk, performance.now() - started);
    onAnswer(answer);
  }
  onAnswer({ ...answer, totalMs: performance.now() - started });
}

function grow(answer: Answer, chunk: Chunk, elapsed: number): Answer {
  if (chunk.error) throw new Error(chunk.error.message);
  const choice = chunk.choices?.[0];
  const piece = choice?.delta?.content ?? "";
  return {
    ...answer,
    id: chunk.id ?? answer.id,
    text: answer.text + piece,
    firstTokenMs: answer.firstTokenMs ?? (piece ? elapsed : undefined),
    promptTokens: chunk.usage?.prompt_tokens ?? answer.promptTokens,
    completionTokens: chunk.usage?.completion_tokens ?? answer.completionTokens,
    finishReason: choice?.finish_reason ?? answer.finishReason,
  };
}

/** The `data:` of each event; lines may be cut anywhere between two reads. */
export async function* serverEvents(body: ReadableStream<Uint8Array>): AsyncGenerator<string> {
  const reader = body.pipeThrough(new TextDecoderStream() as ReadableWritablePair<string, Uint8Array>).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    const lines = (rest + (value ?? "")).split(/\r?\n/);
    rest = done ? "" : (lines.pop() ?? "");
    for (const line of lines) if (line.startsWith("data:")) yield line.slice(5).trimStart();
    if (done) return;
  }
}
