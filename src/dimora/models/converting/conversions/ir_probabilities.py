"""Scores a text with a folder of OpenVINO IR, into the file that `probabilities` reads."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from dimora.core.errors import InvalidModel
from dimora.models.converting.probabilities import Reader, Text, write_probabilities

# The text is scored by the tokens of the one who came first, whatever the folder would make of it.
_OTHER_TOKENS = 0.01


def convert(source: Path, target: Path, *, like: str, words: str, bos: str = "") -> None:
    """`source` is the folder, `like` a file of probabilities whose text is scored again, `words` a
    file with that text. `bos` is the token that each window begins with, for models that want one.

    Raises InvalidModel when the folder cuts the text into other tokens, or is no language model.
    """
    # The package would tell a web service that it was imported.
    sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]
    import openvino

    with Reader(Path(like)) as known:
        text = known.text
    try:
        _require_tokens(source, Path(words), text)
        compiled = openvino.Core().compile_model(source / "openvino_model.xml", "CPU")
    except RuntimeError:
        raise InvalidModel("OpenVINO cannot load this model") from None
    write_probabilities(target, text, _rows(compiled.create_infer_request(), text, bos))


def _require_tokens(source: Path, words: Path, text: Text) -> None:
    import numpy as np
    import openvino
    import openvino_tokenizers  # noqa: F401 - OpenVINO then knows what tokenizers are made of

    reader = openvino.Core().compile_model(source / "openvino_tokenizer.xml", "CPU")
    given = np.array([words.read_text(encoding="utf-8")])
    found = [int(token) for token in reader(given)["input_ids"][0]]
    counted = min(len(found), len(text.tokens))
    same = Counter(found[:counted]) & Counter(text.tokens[:counted])
    if counted - same.total() > _OTHER_TOKENS * counted:
        raise InvalidModel("the two forms of the model cut the text into different tokens")


def _rows(ask: Any, text: Text, bos: str) -> Iterator[Any]:
    import numpy as np

    names = {name for port in ask.model_inputs for name in port.names}
    half = text.window_tokens // 2
    for window in range(text.windows):
        start = window * text.window_tokens
        tokens = np.asarray([text.tokens[start : start + text.window_tokens]], np.int64)
        if bos:
            tokens[0, 0] = int(bos)
        inputs = {
            "input_ids": tokens,
            "attention_mask": np.ones_like(tokens),
            "position_ids": np.arange(tokens.shape[1], dtype=np.int64)[None],
            "beam_idx": np.zeros(1, np.int32),
        }
        ask.reset_state()
        ask.infer({name: value for name, value in inputs.items() if name in names})
        scores = ask.get_tensor("logits").data[0]
        if scores.shape[-1] < text.vocabulary:
            raise InvalidModel("the two models have different vocabularies")
        for place in range(half, text.window_tokens - 1):
            yield scores[place, : text.vocabulary].astype(np.float32)
