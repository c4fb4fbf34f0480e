import assert from "node:assert/strict";
import { test } from "node:test";
import { Ollama } from "ollama";

const client = new Ollama({ host: process.env.DIMORA_URL });
const model = `${process.env.REGISTRY}/javascript/tiny:v1`;

async function statuses(stream) {
  const told = [];
  let moved = 0;
  for await (const step of stream) {
    told.push(step.status);
    if (step.total) moved = Math.max(moved, step.completed ?? 0);
  }
  assert.ok(moved > 0);
  return told;
}

test("a model is pushed, deleted and pulled", async () => {
  await client.copy({ source: "tiny", destination: model });
  let told = await statuses(await client.push({ model, stream: true }));
  assert.equal(told[0], "retrieving manifest");
  assert.equal(told.at(-1), "success");
  const digest = (await client.list()).models.find((m) => m.name === model).digest;
  await client.delete({ model });
  told = await statuses(await client.pull({ model, stream: true }));
  assert.equal(told[0], "pulling manifest");
  assert.equal(told.at(-1), "success");
  assert.equal((await client.list()).models.find((m) => m.name === model).digest, digest);
  assert.equal((await client.push({ model })).status, "success");
});

test("a registry that is not allowed is refused", async () => {
  await assert.rejects(client.pull({ model: "registry.example.org/a/tiny" }), /not allowed/);
});
