// What an application on Node asks of the gateway; prints what came as one JSON object. OPENAI_BASE_URL and
// OPENAI_API_KEY say where and as whom.
import OpenAI from "openai";

const client = new OpenAI({ maxRetries: 0 });
const model = "hotline";
const messages = [{ role: "user", content: "Name three colours." }];
const exact = { temperature: 0, max_tokens: 8 };

const whole = await client.chat.completions.create({ model, messages, ...exact });

const stream = await client.chat.completions.create({
  model, messages, ...exact, stream: true, stream_options: { include_usage: true },
});
let streamed = "";
let usage = null;
for await (const piece of stream) {
  streamed += piece.choices[0]?.delta?.content ?? "";
  usage = piece.usage ?? usage;
}

const response = await client.responses.create({ model, input: "Name three colours.", max_output_tokens: 8 });
const events = [];
for await (const event of client.responses.stream({ model, input: "Hi", max_output_tokens: 4 })) events.push(event.type);

const models = [];
for await (const each of client.models.list()) models.push(each.id);

let refusal = null;
try {
  await client.chat.completions.create({ model: "nobody", messages });
} catch (error) {
  refusal = { kind: error.constructor.name, status: error.status, code: error.code, requestID: error.requestID };
}

console.log(JSON.stringify({
  whole: whole.choices[0].message.content, streamed, usage, models, refusal, events, response: response.output_text,
}));
