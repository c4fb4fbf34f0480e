"""Do the two real engines write the same greedy text?"""

from __future__ import annotations

import platform

import pytest

from dimora.models.store import ModelStore
from dimora.prompts.prompt import Prompt
from dimora.tasks.options import Sampling
from tests.worker_client import worker

PROMPTS = [
    "The capital of France is",
    "Water boils at a temperature of",
    "The opposite of hot is",
    "One, two, three, four,",
    "Monday, Tuesday, Wednesday,",
    "The sun rises in the",
    "A triangle has",
    "The largest planet of the solar system is",
    "To be or not to be,",
    "In the beginning God created",
    "def add(a, b):\n    return",
    "for i in range(10):\n    print(",
    "Roses are red, violets are",
    "The first president of the United States was",
    "An apple a day keeps the",
    "Dogs bark and cats",
    "The chemical symbol of gold is",
    "A year has",
    "The colours of the rainbow are red,",
    "import numpy as",
]
# Numbers are rounded differently (activations are quantized by one and not by the other), so long
# texts drift apart; the first tokens of plain prompts should not.
TOKENS = 5
FLOOR = 0.6


@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="OpenVINO is for x86-64")
def test_greedy_texts_of_both_engines_agree_on_most_prompts(smollm2_path, tmp_path, capsys):
    model = ModelStore(tmp_path / "m", cache_path=tmp_path).find_file(smollm2_path)
    texts = {}
    for engine in ("llama_cpp", "openvino"):
        with worker(engine, smollm2_path, model, tmp_path / engine) as client:
            sampling = Sampling(temperature=0, num_predict=TOKENS)
            texts[engine] = [client.generate(Prompt(text=p), sampling)[0] for p in PROMPTS]
    same = [a == b for a, b in zip(*texts.values(), strict=True)]
    rate = sum(same) / len(same)
    with capsys.disabled():
        print(f"\ngreedy agreement over {TOKENS} tokens: {sum(same)} of {len(same)} prompts")
    assert rate >= FLOOR
