import { afterEach, describe, expect, it, vi } from "vitest";
import { ApiError } from "./client";
import { modelFiles, sendModel, unfinished } from "./partUpload";
import type { ModelUpload } from "./types.gen";

const file = (name: string, text = "12345") => new File([text], name);
const digest = async (text: string) => {
  const hash = new Uint8Array(await crypto.subtle.digest("SHA-256", new TextEncoder().encode(text)));
  return `sha256:${Array.from(hash, (byte) => byte.toString(16).padStart(2, "0")).join("")}`;
};

async function upload(): Promise<ModelUpload> {
  return {
    name: "projects/acme/modelUploads/u",
    state: "STATE_OPEN",
    part_size_bytes: "2",
    files: [{ path: "a.gguf", size_bytes: "5", parts: [{ number: 0, size_bytes: "2", digest: await digest("12") }] }],
  } as unknown as ModelUpload;
}

/** A server that has the first part; `fail` says which calls break off. */
async function server(fail: (put: number) => boolean = () => false) {
  const sent: string[] = [];
  const there = await upload();
  let puts = 0;
  vi.stubGlobal("fetch", async (address: string, options: RequestInit) => {
    if (options.method !== "PUT") {
      const reply = address.includes("filter=") ? { model_uploads: [there] } : there;
      return new Response(JSON.stringify(reply));
    }
    if (fail(puts++)) throw new TypeError("network");
    sent.push(
      `${new URL(address, "http://x").searchParams.get("number")}:${new TextDecoder().decode(options.body as ArrayBuffer)}`,
    );
    return new Response("{}");
  });
  return sent;
}

afterEach(() => {
  vi.unstubAllGlobals();
});

describe("an upload in parts", () => {
  it("sends only what is not there, and counts what is", async () => {
    const sent = await server();
    const seen: number[] = [];
    await sendModel("acme", [file("a.gguf")], new AbortController().signal, (arrived) =>
      seen.push(arrived["a.gguf"] ?? 0),
    );
    expect(sent).toEqual(["1:34", "2:5"]);
    expect(seen).toEqual([2, 4, 5]);
  });

  it("tries a part again when the connection breaks", async () => {
    vi.stubGlobal("setTimeout", (run: () => void) => queueMicrotask(run));
    const sent = await server((put) => put === 0);
    await sendModel("acme", [file("a.gguf")], new AbortController().signal, () => {});
    expect(sent).toEqual(["1:34", "2:5"]);
  });

  it("does not try again what the server refuses", async () => {
    await server();
    const whole = globalThis.fetch;
    vi.stubGlobal("fetch", async (address: string, options: RequestInit) =>
      options.method === "PUT" ? new Response('{"reason":"NOT_GGUF"}', { status: 400 }) : whole(address, options),
    );
    const sending = sendModel("acme", [file("a.gguf")], new AbortController().signal, () => {});
    await expect(sending).rejects.toBeInstanceOf(ApiError);
  });

  it("goes on with an upload of the same files alone", async () => {
    const known = await upload();
    expect(unfinished([known], [file("a.gguf")])).toBe(known);
    expect(unfinished([known], [file("a.gguf", "123456")])).toBeUndefined();
    expect(unfinished([known], [file("a.gguf"), file("README.md")])).toBeUndefined();
  });

  it("takes of a folder what a model is made of", () => {
    const names = ["config.json", "model.safetensors", "pytorch_model.bin", ".gitattributes", "LICENSE"];
    expect(modelFiles(names.map((name) => file(name))).map(({ name }) => name)).toEqual([
      "config.json",
      "model.safetensors",
      "LICENSE",
    ]);
    expect(modelFiles([file("weights.bin")])).toHaveLength(1); // the server says why not
  });
});
