"""What an engine is given to read."""

from __future__ import annotations

from typing import Any

import msgspec


class Prompt(msgspec.Struct, frozen=True, kw_only=True):
    """Rendered text (or token ids) and the grammar of the answer, ready for an engine.

    Exactly one of `text` and `tokens` is meant: `tokens` wins when it is not empty. `text` never
    begins with the beginning-of-sequence token: the engine adds what the tokenizer asks for, and
    reads special tokens such as `<|im_end|>` in the text as single tokens.
    `json_schema` is a JSON Schema the whole answer must match; `{"type": "object"}` means any
    object. It has been checked by `prompts.schema` and the engine must enforce it.
    `scope` is set by who lends the engine: what an engine keeps of prompts, it uses again only for
    those of the same scope.
    """

    text: str = ""
    tokens: tuple[int, ...] = ()
    images: tuple[bytes, ...] = ()
    json_schema: dict[str, Any] | None = None
    scope: str = ""
