"""Holds an answer to a JSON Schema, token by token: what may come next, and what must.

The grammar is the one every engine is given (`_grammar`), in the notation of the library llguidance
(github.com/guidance-ai/llguidance), which reads it against the model's vocabulary.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Sequence
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any

from dimora.core.errors import BadRequest, InternalError
from dimora.engines._grammar import schema_grammar

if TYPE_CHECKING:
    import llguidance
    import numpy
    from numpy.typing import NDArray

_SCHEMAS_KEPT = 32
# Bytes; few tokens are longer, and what those write can be written by shorter ones.
_LONGEST_SPELLED = 32
_PIECE = re.compile(
    r'(?P<literal>"(?:[^"\\]|\\.)*")|(?P<letters>\[(?:[^\]\\]|\\.)*\])|(?P<name>[a-z][a-z0-9]*)'
    r"|(?P<times>\{\d+(?:,\d*)?\})|(?P<sign>[|()*+?])|\s+"
)
_CODE = re.compile(r"\\u([0-9A-F]{4})|\\U([0-9A-F]{8})|\\(.)")


class Vocabulary:
    """The tokens of a model. `texts` are the bytes of each, `encode` splits a text into the ones
    the model would write; of `ends` any ends an answer."""

    def __init__(
        self,
        texts: Sequence[bytes],
        special_ids: Collection[int],
        ends: Collection[int],
        encode: Callable[[str], list[int]],
    ) -> None:
        import llguidance

        words = _Words(texts, special_ids, ends, encode)
        self._tokenizer = llguidance.LLTokenizer(llguidance.TokenizerWrapper(words))
        self._begin = lru_cache(_SCHEMAS_KEPT)(self._compile)

    def begin(self, json_schema: dict[str, Any]) -> llguidance.LLMatcher:
        """Raises BadRequest for a schema that cannot be held, UnsupportedFeature."""
        return self._begin(json.dumps(json_schema)).deep_copy()

    def _compile(self, json_schema: str) -> llguidance.LLMatcher:
        import llguidance

        grammar = llguidance.LLMatcher.grammar_from_lark(
            to_lark(schema_grammar(json.loads(json_schema)))
        )
        matcher = llguidance.LLMatcher(self._tokenizer, grammar, log_level=0)
        if matcher.is_error():
            raise BadRequest(
                "the engine cannot hold an answer to this JSON schema",
                hint="make it smaller: fewer members, shorter runs",
                code="engine_refused",
            )
        return matcher


class _Words:
    """What the library wants to know of a tokenizer, by its own names."""

    def __init__(
        self,
        texts: Sequence[bytes],
        special_ids: Collection[int],
        ends: Collection[int],
        encode: Callable[[str], list[int]],
    ) -> None:
        self.tokens = list(texts)
        self.special_token_ids = sorted({*special_ids, *ends})
        self.eos_token_id = min(ends)
        self.bos_token_id = None
        self._encode = encode

    def __call__(self, text: str) -> list[int]:
        if not isinstance(text, str):
            raise TypeError("not a text")
        ids, data = self._encode(text), text.encode()
        # Some tokenizers put a blank before what they take for the beginning of a text.
        return ids if b"".join(self.tokens[id_] for id_ in ids) == data else self._spell(data)

    def _spell(self, data: bytes) -> list[int]:
        """By the longest token each time, up to what none can write."""
        ids: list[int] = []
        while data:
            lengths = range(min(len(data), _LONGEST_SPELLED), 0, -1)
            length = next((n for n in lengths if data[:n] in self._ids), 0)
            if not length:
                break
            ids.append(self._ids[data[:length]])
            data = data[length:]
        return ids

    @cached_property
    def _ids(self) -> dict[bytes, int]:
        special = frozenset(self.special_token_ids)
        return {text: id_ for id_, text in enumerate(self.tokens) if id_ not in special}


class Constraint:
    """What one answer may be. Raises as `Vocabulary.begin`."""

    def __init__(self, vocabulary: Vocabulary, json_schema: dict[str, Any]) -> None:
        self._matcher = vocabulary.begin(json_schema)

    @property
    def ended(self) -> bool:
        """Whether it is whole, and nothing can be added."""
        return bool(self._matcher.is_stopped())

    def apply(self, scores: NDArray[numpy.float32]) -> None:
        """Rule out, in place, what may not come next. Raises InternalError where the library gives
        up."""
        import numpy as np

        mask = self._matcher.compute_bitmask()
        if self._matcher.is_error():
            raise InternalError(
                "the engine cannot hold this answer to the JSON schema any longer",
                hint="ask again; a smaller schema may help",
            )
        allowed = np.unpackbits(np.frombuffer(mask, np.uint8), bitorder="little")
        known = min(len(allowed), len(scores))
        scores[:known][allowed[:known] == 0] = -np.inf
        scores[known:] = -np.inf

    def forced(self) -> list[int]:
        """The tokens that come next whatever the model thinks."""
        return list(self._matcher.compute_ff_tokens())

    def accept(self, id_: int) -> None:
        self._matcher.consume_token(id_)


def to_lark(grammar: str) -> str:
    """A GBNF grammar in the notation of llguidance.

    Rules that are no part of themselves are terminals, which are told apart letter by letter.
    """
    rules = dict(line.split(" ::= ", 1) for line in grammar.splitlines())
    flat = _flat(rules)

    def written(name: str) -> str:
        return f"T{name.upper()}" if name in flat else name

    def translated(piece: re.Match[str]) -> str:
        if text := piece["literal"]:
            return json.dumps(_plain(text[1:-1]), ensure_ascii=False)
        if letters := piece["letters"]:
            return f"/{_letters(letters)}/"
        return written(piece["name"]) if piece["name"] else piece[0]

    lines = [f"start: {written('root')}"]
    for name, rule in rules.items():
        lines.append(f"{written(name)}: {_PIECE.sub(translated, rule)}")
    return "\n".join(lines)


def _flat(rules: dict[str, str]) -> set[str]:
    """The rules that do not come back to themselves, and lead to no others that do."""
    parts = {
        name: {piece["name"] for piece in _PIECE.finditer(rule) if piece["name"]}
        for name, rule in rules.items()
    }
    flat: set[str] = set()
    while more := {name for name in rules if name not in flat and parts[name] <= flat}:
        flat |= more
    return flat


def _plain(text: str) -> str:
    return _CODE.sub(
        lambda code: chr(int(code[1] or code[2], 16)) if not code[3] else code[3], text
    )


def _letters(letters: str) -> str:
    """A class of letters, as the library's regular expressions have it."""
    return _CODE.sub(
        lambda code: f"\\{code[3]}" if code[3] else f"\\x{{{code[1] or code[2]}}}", letters
    )
