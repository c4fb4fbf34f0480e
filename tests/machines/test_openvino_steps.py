"""Answers of OpenVINO are the same in company and with guesses, and use no prefix of others."""

from __future__ import annotations

import platform
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from dimora.core.processor import processor_features
from dimora.engines import openvino
from dimora.engines._guesses import Guesses
from dimora.engines._openvino_folders import ready_folder
from dimora.engines._openvino_network import Row
from dimora.engines._openvino_paged import PagedDecoder
from dimora.engines._step_costs import StepCosts
from dimora.engines.base import Cancellation, EngineSettings, ModelFiles
from dimora.prompts.prompt import Prompt
from dimora.tasks.base import Finish, Token
from dimora.tasks.options import LoadOptions, Sampling
from tests.machines.shapes import read_model
from tests.worker_client import WorkerClient, worker

pytestmark = pytest.mark.skipif(
    platform.machine() not in ("x86_64", "AMD64"), reason="OpenVINO is for x86-64"
)
LIST = "One apple, one pear. Two apples, two pears. Three apples, three pears. "
LONG = LIST * 12
ROUND = "red, green, blue, yellow, black, white, " * 30


@pytest.fixture(scope="module")
def client(smollm2_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[WorkerClient]:
    scratch = tmp_path_factory.mktemp("steps")
    model = read_model(smollm2_path, scratch)
    with worker("openvino", smollm2_path, model, scratch, num_ctx=2048, parallel=4) as opened:
        yield opened


def written(client: WorkerClient, prompt: Prompt, tokens: int = 60) -> tuple[list[Token], Finish]:
    sampling = Sampling(temperature=0, num_predict=tokens)
    _, come, finish = client.generate(prompt, sampling)
    return come, finish


def test_an_answer_is_the_same_in_company(client: WorkerClient) -> None:
    prompt = Prompt(text="The house stood on a hill, and")
    alone, _ = written(client, prompt)
    others = [
        client.start(Prompt(text=f"{n}. {LONG}"), Sampling(num_predict=80, seed=n))
        for n in range(3)
    ]
    together, _ = written(client, prompt)
    for id_ in others:
        list(client.read(id_))
    assert [token.id for token in together] == [token.id for token in alone]


def test_an_answer_is_the_same_with_guesses_and_without(
    smollm2_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = ModelFiles(weights=str(smollm2_path))
    places = EngineSettings(scratch_path=str(tmp_path), cache_path=str(tmp_path))
    model = read_model(smollm2_path, tmp_path)
    engine = openvino.load(files, model, LoadOptions(num_ctx=1024, parallel=1), places)
    learn, guesses = Guesses.learn, list[int]()

    def noted(self: Guesses, guessed: int, right: int) -> None:
        guesses.append(right)
        learn(self, guessed, right)

    monkeypatch.setattr(Guesses, "learn", noted)
    # As many as pay are guessed otherwise, which is another number on every machine.
    monkeypatch.setattr(StepCosts, "best_guess", lambda *_: _[-1])

    def ids() -> list[int]:
        sampling = Sampling(temperature=0, num_predict=80)
        items = engine.generate(Prompt(text=ROUND), sampling, Cancellation())
        return [item.id for item in items if isinstance(item, Token)]

    with_guesses = ids()
    assert sum(guesses) > 20
    monkeypatch.setattr(StepCosts, "best_guess", lambda *_: 0)
    guesses.clear()
    assert ids() == with_guesses
    assert sum(guesses) == 0
    engine.close()


def test_a_long_beginning_is_read_once(client: WorkerClient) -> None:
    first = Prompt(text=f"{LONG}What comes?", scope="a")
    again = Prompt(text=f"{LONG}And then?", scope="a")
    assert written(client, first, 2)[1].cached_tokens == 0
    finish = written(client, again, 2)[1]
    # From the very token on where it is new.
    assert finish.prompt_tokens - finish.cached_tokens < 8


def test_nobody_is_told_by_the_cache_what_another_scope_has_asked(client: WorkerClient) -> None:
    text = f"A secret. {LONG}"
    written(client, Prompt(text=text, scope="one"), 2)
    assert written(client, Prompt(text=text, scope="one"), 2)[1].cached_tokens > 100
    assert written(client, Prompt(text=text, scope="another"), 2)[1].cached_tokens == 0
    assert written(client, Prompt(text=text), 2)[1].cached_tokens == 0


@pytest.mark.skipif(
    {"amx_bf16", "avx512_bf16"}.isdisjoint(processor_features().split()),
    reason="the processor knows no brain floats",
)
def test_scores_after_reading_with_brain_floats_are_those_after_bytes(
    smollm2_path: Path, client: WorkerClient, tmp_path: Path
) -> None:
    tokens = client.tokenize(LONG)[:200]
    blocks = range(8)
    model = read_model(smollm2_path, tmp_path)
    hints = {"KV_CACHE_PRECISION": "f16", "INFERENCE_PRECISION_HINT": "f32"}
    scores = []
    with ready_folder(str(smollm2_path), model, str(tmp_path), str(tmp_path)) as folder:
        for brain_blocks in (0, 8):
            decoder = PagedDecoder(folder, 8, hints, brain_blocks=brain_blocks)
            decoder.step([Row(tokens[:96], 0, blocks, False)])
            decoder.step([Row(tokens[96:190], 96, blocks, False)])
            scores.append(decoder.step([Row(tokens[190:], 190, blocks, True)])[0].copy())
    assert scores[0].argmax() == scores[1].argmax()
    # Both are rounded, in different ways: to 8 bits by block, and to the 8 bits of a brain float.
    off = scores[1] - scores[0]
    assert 0 < np.std(off) < 0.1 * np.std(scores[0])
