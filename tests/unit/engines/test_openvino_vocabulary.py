"""What the tokens of a folder stand for, where its vocabulary is written after SentencePiece."""

from __future__ import annotations

import json
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from dimora.core.errors import UnsupportedFeature
from dimora.engines._constraints import Constraint
from dimora.engines.base import Cancellation
from dimora.engines.openvino import OpenVino, special_tokens, token_texts
from dimora.prompts.prompt import Prompt
from dimora.tasks.base import Model, ModelDetails, ModelSummary
from dimora.tasks.options import LoadOptions, Sampling

pytest.importorskip("llguidance")
pytest.importorskip("openvino_genai")

SCHEMA = {
    "type": "object",
    "properties": {"name": {"const": "x y"}, "age": {"type": "integer", "maximum": 9}},
    "required": ["name", "age"],
    "additionalProperties": False,
}


class Pieces:
    """Stands for the tokenizer of such a folder: a blank before each text, which it drops again."""

    def __init__(self) -> None:
        bytes_ = [f"<0x{n:02X}>" for n in range(256)]
        signs = [chr(n) for n in range(33, 127)]
        longer = ["▁", "▁x", "▁y", "name", '":', '▁"', '▁{"', ",▁"]
        self.pieces = ["<unk>", "<s>", "</s>", *bytes_, *signs, *longer]

    def get_vocab(self) -> dict[bytes, int]:
        return {piece.encode(): id_ for id_, piece in enumerate(self.pieces)}

    def get_eos_token_id(self) -> int:
        return 2

    def encode(self, text: str, *, add_special_tokens: bool, max_length: int) -> Any:
        rest, ids = "▁" + text.replace(" ", "▁"), [1] if add_special_tokens else []
        while rest:
            fits = [i for i, piece in enumerate(self.pieces) if rest.startswith(piece)]
            if fits:
                ids.append(max(fits, key=lambda i: len(self.pieces[i])))
                rest = rest[len(self.pieces[ids[-1]]) :]
            else:
                ids += [3 + byte for byte in rest[0].encode()]
                rest = rest[1:]
        return SimpleNamespace(input_ids=SimpleNamespace(data=[ids]))

    def decode(self, ids: list[Any], skip_special_tokens: bool = True) -> Any:
        if ids and isinstance(ids[0], list):
            return [self.decode(some, skip_special_tokens) for some in ids]
        told = [i for i in ids if i > 2 or not skip_special_tokens]
        data = b"".join(
            bytes([i - 3]) if 3 <= i < 259 else self.pieces[i].replace("▁", " ").encode()
            for i in told
        )
        return data.decode(errors="replace").removeprefix(" ")


class Silent(Pieces):
    """Its vocabulary is in none of the places that OpenVINO knows."""

    def get_vocab(self) -> dict[bytes, int]:
        raise RuntimeError("Tokenizer vocab is empty.")


def engine_with(tokenizer: Pieces) -> OpenVino:
    details = ModelDetails(format="openvino")
    summary = ModelSummary(name="m", digest="", size_bytes=1, modified_at=0.0, details=details)
    model = Model(summary=summary, weights_digest="w", architecture="llama")
    nothing: Any = None
    decoder: Any = SimpleNamespace(tile_tokens=64, reads_apart=False)
    return OpenVino(decoder, nothing, tokenizer, [], model, LoadOptions(num_ctx=64))


@pytest.fixture
def engine() -> Iterator[OpenVino]:
    engine = engine_with(Pieces())
    yield engine
    engine.close()


def test_blanks_and_bytes_are_read_and_nothing_else_is_changed() -> None:
    tokenizer: Any = Pieces()
    texts = token_texts(tokenizer)
    assert texts[tokenizer.pieces.index("▁x")] == b" x"
    assert texts[tokenizer.pieces.index("<0x0A>")] == b"\n"
    tokenizer.get_vocab = lambda: {"▁".encode(): 0, b"<0xZZ>": 1, b"a": 2}
    assert token_texts(tokenizer) == ["▁".encode(), b"<0xZZ>", b"a"]


def test_a_blank_alone_is_text() -> None:
    tokenizer: Any = Pieces()
    assert special_tokens(tokenizer, token_texts(tokenizer)) == {0, 1, 2}


def test_json_is_written_with_its_blanks(engine: OpenVino) -> None:
    vocabulary, ids = engine._vocabulary(), list[int]()
    constraint = Constraint(vocabulary, SCHEMA)
    # What must come does, though the tokenizer would begin it with a blank.
    assert constraint.forced()
    while not constraint.ended and len(ids) < 100:
        for id_ in constraint.forced():
            constraint.accept(id_)
            ids.append(id_)
        if constraint.ended:
            break
        scores = np.zeros(400, np.float32)
        constraint.apply(scores)
        ids.append(int(scores.argmax()))
        constraint.accept(ids[-1])
    told = json.loads(engine.detokenize(ids))
    assert told["name"] == "x y"


def test_a_folder_that_does_not_tell_its_vocabulary_holds_no_schema() -> None:
    engine = engine_with(Silent())
    try:
        assert "json_schema" not in engine.features
        prompt = Prompt(tokens=(5,), json_schema=SCHEMA)
        with pytest.raises(UnsupportedFeature):
            list(engine.generate(prompt, Sampling(num_predict=1), Cancellation()))
    finally:
        engine.close()
