import { ApiError, get, post, remove, toProblem, unreachable, url } from "./client";
import type { ModelUpload } from "./types.gen";

/** Bytes of each file that have arrived, by its name. */
export type Arrived = Record<string, number>;

const TRIES = 5;
const FIRST_PAUSE = 500;
const SENT = [".json", ".safetensors", ".model", ".txt", ".jinja", ".md", ".gguf"];

/** Of the files that were chosen (a folder's, perhaps) those that a model is made of. */
export function modelFiles(chosen: File[]): File[] {
  if (chosen.length === 1) return chosen;
  return chosen.filter(
    ({ name }) => !name.startsWith(".") && (name.startsWith("LICENSE") || SENT.some((end) => name.endsWith(end))),
  );
}

/** The newest upload under way that has these very files, by name and size; what is there of it need not be sent. */
export function unfinished(uploads: ModelUpload[], files: File[]): ModelUpload | undefined {
  const sizes = new Map(files.map((file) => [file.name, String(file.size)]));
  return uploads.find(
    (upload) =>
      upload.state === "STATE_OPEN" &&
      upload.files.length === sizes.size &&
      upload.files.every((file) => sizes.get(file.path) === file.size_bytes),
  );
}

/** Goes on with what is there, or begins. Rejects with an AbortError when `signal` says stop; calling again goes on. */
export async function sendModel(
  project: string,
  files: File[],
  signal: AbortSignal,
  onArrived: (arrived: Arrived) => void,
): Promise<ModelUpload> {
  const path = `/projects/${project}/model-uploads`;
  const open = await get<{ model_uploads: ModelUpload[] }>(path, { filter: "state=OPEN", page_size: 500 }, signal);
  const known = unfinished(open.model_uploads, files);
  const upload = known
    ? await get<ModelUpload>(addressOf(known.name), {}, signal)
    : await post<ModelUpload>(path, {
        display_name: files.length === 1 ? files[0]?.name : undefined,
        files: files.map((file) => ({ path: file.name, size_bytes: String(file.size) })),
      });
  const arrived: Arrived = Object.fromEntries(files.map((file) => [file.name, 0]));
  for (const file of files) {
    for await (const bytes of sendFile(upload, file, signal)) {
      arrived[file.name] = (arrived[file.name] ?? 0) + bytes;
      onArrived({ ...arrived });
    }
  }
  return get<ModelUpload>(addressOf(upload.name), {}, signal);
}

export function dropUpload(name: string): Promise<void> {
  return remove<void>(addressOf(name));
}

export function addressOf(name: string): string {
  return `/${name.replace("/modelUploads/", "/model-uploads/")}`;
}

/** Yields the size of each part once it is there. A part that is there and the same is not sent again. */
async function* sendFile(upload: ModelUpload, file: File, signal: AbortSignal): AsyncGenerator<number> {
  const size = Number(upload.part_size_bytes);
  const parts = upload.files.find((each) => each.path === file.name)?.parts ?? [];
  const there = new Map(parts.map((part) => [part.number, part.digest]));
  for (let number = 0; number * size < file.size; number++) {
    const bytes = await file.slice(number * size, (number + 1) * size).arrayBuffer();
    const digest = await digestOf(bytes);
    if (!digest || there.get(number) !== digest) {
      await sendPart(`${addressOf(upload.name)}/parts`, { path: file.name, number, digest }, bytes, signal);
    }
    yield bytes.byteLength;
  }
}

/** A part replaces itself, so a lost connection costs nothing but sending it once more. */
async function sendPart(
  path: string,
  query: { path: string; number: number; digest: string },
  bytes: ArrayBuffer,
  signal: AbortSignal,
): Promise<void> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await putOnce(url(path, query), bytes, signal);
    } catch (error) {
      const mayPass = error instanceof ApiError && (error.status === 0 || error.status >= 500 || error.status === 429);
      if (!mayPass || attempt === TRIES) throw error;
      await new Promise((resolve) => setTimeout(resolve, FIRST_PAUSE * 2 ** attempt));
    }
  }
}

async function putOnce(address: string, body: ArrayBuffer, signal: AbortSignal): Promise<void> {
  let reply: Response;
  try {
    const headers = { "Content-Type": "application/octet-stream" };
    reply = await fetch(address, { method: "PUT", headers, body, signal, credentials: "same-origin" });
  } catch (error) {
    if (error instanceof DOMException && error.name === "AbortError") throw error;
    throw new ApiError(unreachable());
  }
  if (!reply.ok) throw new ApiError(toProblem(reply.status, await reply.text()));
}

/** `sha256:<hex>`; empty where the page did not come over HTTPS or from this machine, and browsers offer no digests. */
async function digestOf(bytes: ArrayBuffer): Promise<string> {
  if (!globalThis.crypto?.subtle) return "";
  const hash = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
  return `sha256:${Array.from(hash, (byte) => byte.toString(16).padStart(2, "0")).join("")}`;
}
