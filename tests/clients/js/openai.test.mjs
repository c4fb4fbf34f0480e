import assert from "node:assert/strict";
import { test } from "node:test";
import OpenAI from "openai";

const client = new OpenAI({ baseURL: `${process.env.DIMORA_URL}/v1`, apiKey: "none" });
const model = "smollm2:135m";
const messages = [{ role: "user", content: "Say hello." }];

test("chat completions answer", async () => {
  const answer = await client.chat.completions.create({
    model, messages, temperature: 0, max_tokens: 12,
  });
  assert.ok(answer.choices[0].message.content.length > 0);
  assert.ok(["stop", "length"].includes(answer.choices[0].finish_reason));
  assert.equal(
    answer.usage.total_tokens,
    answer.usage.prompt_tokens + answer.usage.completion_tokens,
  );
});

test("chat completions stream the same words, with usage at the end", async () => {
  const wanted = { model, messages, temperature: 0, max_completion_tokens: 12 };
  const whole = await client.chat.completions.create(wanted);
  const stream = await client.chat.completions.create({
    ...wanted, stream: true, stream_options: { include_usage: true },
  });
  let text = "";
  let usage;
  for await (const chunk of stream) {
    text += chunk.choices[0]?.delta?.content ?? "";
    usage = chunk.usage ?? usage;
  }
  assert.equal(text, whole.choices[0].message.content);
  assert.equal(usage.completion_tokens, whole.usage.completion_tokens);
});

test("a named tool is called", async () => {
  const tools = [{
    type: "function",
    function: {
      name: "get_weather",
      description: "Weather of a city",
      parameters: {
        type: "object",
        properties: { city: { type: "string", maxLength: 20 } },
        required: ["city"],
        additionalProperties: false,
      },
    },
  }];
  const answer = await client.chat.completions.create({
    model, temperature: 0, max_tokens: 100, tools,
    messages: [{ role: "user", content: "What is the weather in Rome?" }],
    tool_choice: { type: "function", function: { name: "get_weather" } },
  });
  const [call] = answer.choices[0].message.tool_calls;
  assert.equal(answer.choices[0].finish_reason, "tool_calls");
  assert.equal(call.function.name, "get_weather");
  assert.deepEqual(Object.keys(JSON.parse(call.function.arguments)), ["city"]);
});

test("structured output keeps to the schema", async () => {
  const schema = {
    type: "object",
    properties: { answer: { enum: ["yes", "no"] } },
    required: ["answer"],
    additionalProperties: false,
  };
  const answer = await client.chat.completions.create({
    model, temperature: 0, max_tokens: 50,
    messages: [{ role: "user", content: "Is water wet?" }],
    response_format: { type: "json_schema", json_schema: { name: "a", schema, strict: true } },
  });
  const value = JSON.parse(answer.choices[0].message.content);
  assert.ok(["yes", "no"].includes(value.answer));
});

test("embeddings, as floats and as base64", async () => {
  const plain = await client.embeddings.create({
    model: "multilingual-e5-small", input: ["ciao"], encoding_format: "float",
  });
  const packed = await client.embeddings.create({ model: "multilingual-e5-small", input: "ciao" });
  assert.equal(plain.data[0].embedding.length, 384);
  plain.data[0].embedding.forEach((x, i) => {
    assert.ok(Math.abs(x - packed.data[0].embedding[i]) < 1e-5);
  });
});

test("completions answer", async () => {
  const answer = await client.completions.create({
    model, prompt: "The sky is", max_tokens: 5, temperature: 0,
  });
  assert.ok(answer.choices[0].text.length > 0);
});

test("models are listed", async () => {
  const names = [];
  for await (const one of client.models.list()) names.push(one.id);
  assert.ok(names.includes(model));
});

test("an unknown model is a NotFoundError", async () => {
  await assert.rejects(
    client.chat.completions.create({ model: "nobody", messages }),
    (error) => error instanceof OpenAI.NotFoundError,
  );
});

test("a wrong type is a BadRequestError", async () => {
  await assert.rejects(
    client.chat.completions.create({ model, messages, temperature: "hot" }),
    (error) => error instanceof OpenAI.BadRequestError,
  );
});
