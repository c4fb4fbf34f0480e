"""Reads the unigram vocabulary of a GGUF file; what the file does not say is as in llama.cpp."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from dimora.core.errors import InvalidModel
from dimora.engines._unigram import NORMAL, Vocabulary
from dimora.tasks.base import Model

if TYPE_CHECKING:
    import gguf

_PREFIX = "tokenizer.ggml."
_LONGEST_MATCH_BYTES = 256
_MOST_REPLACEMENTS = 200_000


def refuses(model: Model) -> str:
    """Why its tokens cannot be made here, "" if they can: told by the header alone."""
    if model.metadata.get("tokenizer.ggml.model") != "t5":
        return "it does not know the tokenizer of this model"
    return ""


def read_vocabulary(reader: gguf.GGUFReader) -> Vocabulary:
    """Raises InvalidModel."""

    def told(name: str, default: Any = None) -> Any:
        field = reader.fields.get(_PREFIX + name)
        return default if field is None else field.contents()

    try:
        pieces = [str(piece) for piece in told("tokens", [])]
        scores = [float(score) for score in told("scores", [])]
        kinds = bytes(told("token_type") or [NORMAL] * len(pieces))
        if not len(pieces) == len(scores) == len(kinds):
            raise InvalidModel("the vocabulary of this model does not fit together")
        begins = told("bos_token_id", -1) if told("add_bos_token", False) else -1
        ends = told("eos_token_id", 1) if told("add_eos_token", True) else -1
        unknown = int(told("unknown_token_id", 2))
        return Vocabulary(
            pieces=pieces,
            scores=scores,
            kinds=kinds,
            replacements=_replacements(bytes(told("precompiled_charsmap") or b"")),
            unknown=unknown if unknown < len(pieces) else 0,
            first=int(begins) if begins < len(pieces) else -1,
            last=int(ends) if ends < len(pieces) else -1,
            adds_space=bool(told("add_space_prefix", False)),
            merges_spaces=bool(told("remove_extra_whitespaces", False)),
        )
    except (ValueError, TypeError, UnicodeDecodeError, IndexError, struct.error):
        raise InvalidModel("the vocabulary of this model cannot be read") from None


def _replacements(packed: bytes) -> dict[str, str]:
    """Of the table that SentencePiece compiles: the bytes of a trie, then strings that end in 0.

    Each of the trie's numbers has: bits 10-30 where its children are, XORed with where it is
    itself (bit 9: that times 256); bits 0-7 the byte that leads to it; bit 8 whether the number
    at its children's place tells where the string is.
    Format: github.com/s-yata/darts-clone, "Darts-clone: double-array trie".
    """
    if not packed:
        return {}
    (size,) = struct.unpack_from("<I", packed)
    nodes = struct.unpack_from(f"<{size // 4}I", packed, 4)
    strings = packed[4 + size :]
    found: dict[str, str] = {}
    for source, at in _walk(nodes):
        if len(found) >= _MOST_REPLACEMENTS:
            raise ValueError("too many")
        found[source.decode()] = strings[at : strings.index(b"\0", at)].decode()
    return found


def _walk(nodes: tuple[int, ...]) -> Iterator[tuple[bytes, int]]:
    """Every string of the trie, and where its replacement begins."""
    open_ = [(b"", _children_of(nodes, 0))]
    while open_:
        before, base = open_.pop()
        if len(before) >= _LONGEST_MATCH_BYTES:
            raise ValueError("too deep")
        for byte in range(1, 256):
            at = base ^ byte
            if at >= len(nodes) or nodes[at] & 0x8000_00FF != byte:
                continue
            children = _children_of(nodes, at)
            source = before + bytes((byte,))
            if nodes[at] >> 8 & 1:
                yield source, nodes[children] & 0x7FFF_FFFF
            open_.append((source, children))


def _children_of(nodes: tuple[int, ...], at: int) -> int:
    node = nodes[at]
    return at ^ (node >> 10 << (node >> 6 & 8))
