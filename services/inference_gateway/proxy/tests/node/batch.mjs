// A batch from an application on Node: the file in.jsonl is sent, answered and read. Prints what came as one JSON object.
import { createReadStream } from "node:fs";
import { setTimeout } from "node:timers/promises";
import OpenAI from "openai";

const client = new OpenAI({ maxRetries: 0 });
const file = await client.files.create({ file: createReadStream("in.jsonl"), purpose: "batch" });
let batch = await client.batches.create({
  input_file_id: file.id, endpoint: "/v1/chat/completions", completion_window: "24h", metadata: { job: "nightly" },
});
while (!["completed", "failed", "expired", "cancelled"].includes(batch.status)) {
  await setTimeout(100);
  batch = await client.batches.retrieve(batch.id);
}

async function lines(id) {
  const text = await (await client.files.content(id)).text();
  return text.trim().split("\n").map((line) => JSON.parse(line));
}

const answers = {};
for (const line of await lines(batch.output_file_id)) {
  answers[line.custom_id] = line.response.body.choices[0].message.content;
}
const wrong = (await lines(batch.error_file_id)).map((line) => line.custom_id);

const listed = [];
for await (const each of client.batches.list({ limit: 1 })) listed.push(each.id);
const { deleted } = await client.files.delete(file.id);

console.log(JSON.stringify({
  status: batch.status, counts: batch.request_counts, answers, wrong, listed: listed.includes(batch.id), deleted,
}));
