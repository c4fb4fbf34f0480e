"""What server and worker say to each other, over the inherited socket pair, as `core.frames`.

The first message to a worker is Load; it answers Ready or Failed (id 0). After that every
message carries the id of a request. Requests run concurrently; Cancel ends one.
"""

from __future__ import annotations

import msgspec

from dimora.engines.base import EngineSettings, ModelFiles
from dimora.prompts.prompt import Prompt
from dimora.tasks.base import Embedded, Finish, Model, TextsToEmbed, Token
from dimora.tasks.options import LoadOptions, Sampling


class _Frame(msgspec.Struct, frozen=True, kw_only=True, tag_field="do"):
    pass


class Load(_Frame, frozen=True, kw_only=True, tag="load"):
    engine: str
    files: ModelFiles
    model: Model
    options: LoadOptions
    settings: EngineSettings


class Generate(_Frame, frozen=True, kw_only=True, tag="generate"):
    id: int
    prompt: Prompt
    sampling: Sampling


class Embed(_Frame, frozen=True, kw_only=True, tag="embed"):
    id: int
    wanted: TextsToEmbed


class Tokenize(_Frame, frozen=True, kw_only=True, tag="tokenize"):
    id: int
    text: str
    add_special: bool = True


class Detokenize(_Frame, frozen=True, kw_only=True, tag="detokenize"):
    id: int
    tokens: tuple[int, ...]


class Cancel(_Frame, frozen=True, kw_only=True, tag="cancel"):
    """No more answers to `id` are wanted; none come after the worker has read this."""

    id: int


ToWorker = Load | Generate | Embed | Tokenize | Detokenize | Cancel


class Ready(_Frame, frozen=True, kw_only=True, tag="ready"):
    version: str
    features: tuple[str, ...]
    context_tokens: int


class Tokens(_Frame, frozen=True, kw_only=True, tag="tokens"):
    """Those that were ready together."""

    id: int
    tokens: tuple[Token, ...]


class Finished(_Frame, frozen=True, kw_only=True, tag="finished"):
    id: int
    finish: Finish


class EmbedAnswer(_Frame, frozen=True, kw_only=True, tag="embedded"):
    id: int
    embedded: Embedded


class TokenizeAnswer(_Frame, frozen=True, kw_only=True, tag="token_ids"):
    id: int
    tokens: tuple[int, ...]


class DetokenizeAnswer(_Frame, frozen=True, kw_only=True, tag="text"):
    id: int
    text: str


class Failed(_Frame, frozen=True, kw_only=True, tag="failed"):
    """A DimoraError, taken apart; id 0 is the loading."""

    id: int
    kind: str
    code: str
    message: str
    hint: str = ""


FromWorker = Ready | Tokens | Finished | EmbedAnswer | TokenizeAnswer | DetokenizeAnswer | Failed
