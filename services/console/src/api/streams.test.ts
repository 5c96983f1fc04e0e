import { expect, test } from "vitest";
import { serverEvents } from "./chat";
import { toProblem } from "./client";
import { merge } from "./live";
import type { MetricPoint } from "./types";

function streamOf(...pieces: Uint8Array[]): ReadableStream<Uint8Array> {
  return new ReadableStream({
    start(controller) {
      for (const piece of pieces) controller.enqueue(piece);
      controller.close();
    },
  });
}

async function collect(events: AsyncIterable<string>): Promise<string[]> {
  const all: string[] = [];
  for await (const event of events) all.push(event);
  return all;
}

test("events are whole even where the network cuts lines and characters", async () => {
  const bytes = new TextEncoder().encode('data: {"a":"树"}\r\n\r\n: keep-alive\n\ndata: [DONE]\n\n');
  for (let cut = 1; cut < bytes.length; cut++) {
    const events = await collect(serverEvents(streamOf(bytes.slice(0, cut), bytes.slice(cut))));
    expect(events).toEqual(['{"a":"树"}', "[DONE]"]);
  }
});

test("a last line without an end is not lost", async () => {
  expect(await collect(serverEvents(streamOf(new TextEncoder().encode("data: x"))))).toEqual(["x"]);
});

const point = (step: number, loss: number): MetricPoint => ({ step, metrics: { loss } });

test("points come in step order, and a later one of a step replaces the older", () => {
  const merged = merge([point(1, 4), point(2, 3)], [point(3, 1), point(2, 2)]);
  expect(merged.map(({ step, metrics }) => [step, metrics.loss])).toEqual([
    [1, 4],
    [2, 2],
    [3, 1],
  ]);
});

test("a problem keeps its reason; what is no problem is named by its status", () => {
  expect(toProblem(412, '{"title":"Pinned","detail":"d","reason":"PINNED","metadata":{"holder":"x"}}')).toEqual({
    title: "Pinned",
    detail: "d",
    status: 412,
    reason: "PINNED",
    metadata: { holder: "x" },
  });
  expect(toProblem(502, "<html>").reason).toBe("HTTP_502");
  expect(toProblem(429, '{"error":{"message":"m","code":"rate_limited"}}')).toMatchObject({
    detail: "m",
    reason: "RATE_LIMITED",
  });
});
