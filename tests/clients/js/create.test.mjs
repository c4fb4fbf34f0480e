import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { Ollama } from "ollama";

const client = new Ollama({ host: process.env.DIMORA_URL });

/** Bring a file; this client has no call for that. */
async function bring(name) {
  const body = await readFile(join(process.env.KITCHEN, name));
  const digest = `sha256:${createHash("sha256").update(body).digest("hex")}`;
  const url = `${process.env.DIMORA_URL}/api/blobs/${digest}`;
  assert.equal((await fetch(url, { method: "HEAD" })).status, 404);
  assert.equal((await fetch(url, { method: "POST", body })).status, 201);
  assert.equal((await fetch(url, { method: "POST", body })).status, 200);
  assert.equal((await fetch(url, { method: "HEAD" })).status, 200);
  return digest;
}

async function stepsOf(stream) {
  const steps = [];
  for await (const step of stream) steps.push(step);
  return steps;
}

async function digestOf(name) {
  return (await client.list()).models.find((m) => m.name === name)?.digest;
}

test("models are created, copied and deleted", async (t) => {
  const weights = await bring("f16.gguf");
  const files = { "f16.gguf": weights };

  await t.test("of files", async () => {
    const steps = await stepsOf(await client.create({ model: "whole", files, stream: true }));
    assert.deepEqual(
      steps.map((step) => step.status),
      ["parsing GGUF", `using existing layer ${weights}`, "writing manifest", "success"],
    );
    assert.equal((await client.show({ model: "whole" })).details.quantization_level, "F16");
  });

  await t.test("of files with an adapter, and with the stream off", async () => {
    const adapters = { "a.gguf": await bring("a.gguf") };
    const made = await client.create({ model: "tuned", files, adapters });
    assert.equal(made.status, "success");
    assert.match((await client.show({ model: "tuned" })).modelfile, /its adapter 1/);
  });

  await t.test("of a model, with everything a request can say", async () => {
    const request = {
      model: "js/ada:v1",
      from: "whole",
      system: "You are Ada.",
      template: "{{ .System }} {{ .Prompt }}",
      license: ["MIT", "More"],
      parameters: { temperature: 0.25, stop: ["a", "b"] },
      messages: [{ role: "user", content: "hi" }, { role: "assistant", content: "ciao" }],
    };
    assert.equal((await client.create(request)).status, "success");
    const shown = await client.show({ model: "js/ada:v1" });
    assert.equal(shown.system, request.system);
    assert.equal(shown.template, request.template);
    assert.equal(shown.license, "MIT\nMore");
    assert.deepEqual(shown.messages, request.messages);
    assert.match(shown.parameters, /stop +"a"\nstop +"b"\ntemperature +0\.25/);
  });

  await t.test("of a model, quantized", async () => {
    const request = { model: "small", from: "whole", quantize: "q8_0", stream: true };
    const told = (await stepsOf(await client.create(request))).filter(
      (step) => step.status === "quantizing F16 model to Q8_0",
    );
    assert.ok(told.at(-1).total > 0);
    assert.equal(told.at(-1).completed, told.at(-1).total);
    assert.equal((await client.show({ model: "small" })).details.quantization_level, "Q8_0");
    await assert.rejects(
      client.create({ model: "smaller", from: "small", quantize: "Q77" }),
      /unknown quantization type 'Q77'/,
    );
    assert.equal(await digestOf("smaller:latest"), undefined);
  });

  await t.test("copied and deleted", async () => {
    assert.equal((await client.copy({ source: "small", destination: "twin" })).status, "success");
    assert.equal(await digestOf("twin:latest"), await digestOf("small:latest"));
    assert.equal((await client.delete({ model: "small" })).status, "success");
    assert.equal(await digestOf("small:latest"), undefined);
    assert.equal((await client.show({ model: "twin" })).details.quantization_level, "Q8_0");
    await assert.rejects(client.delete({ model: "small" }), /model 'small' not found/);
    await assert.rejects(
      client.copy({ source: "small", destination: "x" }),
      /model "small" not found/,
    );
  });
});
