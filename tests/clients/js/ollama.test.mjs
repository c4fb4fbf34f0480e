import assert from "node:assert/strict";
import { test } from "node:test";
import { Ollama } from "ollama";

const client = new Ollama({ host: process.env.DIMORA_URL });
const model = "smollm2:135m";
const options = { temperature: 0, num_predict: 12 };
const messages = [{ role: "user", content: "Say hello." }];

test("chat answers", async () => {
  const answer = await client.chat({ model, messages, options });
  assert.equal(answer.message.role, "assistant");
  assert.ok(answer.message.content.length > 0);
  assert.equal(answer.done, true);
  assert.ok(answer.eval_count > 0);
});

test("chat streams the same words", async () => {
  const whole = await client.chat({ model, messages, options });
  let text = "";
  let last;
  for await (const part of await client.chat({ model, messages, options, stream: true })) {
    text += part.message.content;
    last = part;
  }
  assert.equal(text, whole.message.content);
  assert.equal(last.done, true);
});

test("generate answers", async () => {
  const answer = await client.generate({ model, prompt: "The sky is", raw: true, options });
  assert.ok(answer.response.length > 0);
});

test("a stream can be aborted", async () => {
  const stream = await client.chat({
    model,
    messages: [{ role: "user", content: "Tell a very long story." }],
    options: { num_predict: 2000 },
    stream: true,
  });
  let pieces = 0;
  await assert.rejects(async () => {
    for await (const _ of stream) {
      pieces += 1;
      if (pieces === 3) stream.abort();
    }
  });
  assert.ok(pieces < 100);
});

test("embed gives a unit vector for each text", async () => {
  const { embeddings } = await client.embed({
    model: "multilingual-e5-small",
    input: ["uno", "due"],
  });
  assert.equal(embeddings.length, 2);
  for (const vector of embeddings) {
    assert.equal(vector.length, 384);
    const length = Math.hypot(...vector);
    assert.ok(Math.abs(length - 1) < 1e-3, `length ${length}`);
  }
});

test("structured output keeps to the schema", async () => {
  const format = {
    type: "object",
    properties: { city: { type: "string", maxLength: 20 }, sunny: { type: "boolean" } },
    required: ["city", "sunny"],
    additionalProperties: false,
  };
  const answer = await client.chat({
    model,
    messages: [{ role: "user", content: "Describe a city as JSON." }],
    format,
    options: { temperature: 0, num_predict: 200 },
  });
  const value = JSON.parse(answer.message.content);
  assert.deepEqual(Object.keys(value).sort(), ["city", "sunny"]);
  assert.equal(typeof value.sunny, "boolean");
});

test("the inventory is readable", async () => {
  const { models } = await client.list();
  assert.ok(models.some((m) => m.name === model));
  const shown = await client.show({ model });
  assert.ok(shown.capabilities.includes("completion"));
  assert.equal(shown.model_info["general.architecture"], "llama");
});

test("copy and delete", async () => {
  await client.copy({ source: model, destination: "copied-by-js" });
  let names = (await client.list()).models.map((m) => m.name);
  assert.ok(names.includes("copied-by-js:latest"));
  await client.delete({ model: "copied-by-js" });
  names = (await client.list()).models.map((m) => m.name);
  assert.ok(!names.includes("copied-by-js:latest"));
});

test("an unknown model is an error with its name", async () => {
  await assert.rejects(client.chat({ model: "nobody", messages }), /model 'nobody' not found/);
});
