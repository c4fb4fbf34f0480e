"""What an engine's file offers, and what it is given.

A file on this shelf has five functions beside the Engine it makes:

    offer(settings) -> Offer          is the engine here, which version; must not import the SDK
    refuses(model) -> str             why this model cannot be loaded, "" if it can
    rank(model, settings) -> (int, str)   how well it suits this model, and why in words;
                                      the highest wins, below FAITHFUL_RANK it is not loaded just
                                      as its file says, 0 runs only when pinned
    footprint(model, options) -> Footprint   the memory it will take, by its own way to keep things
    load(files, model, options, settings) -> Engine   in the worker; raises DimoraError
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

import msgspec

from dimora.prompts.prompt import Prompt
from dimora.tasks.advice import Footprint
from dimora.tasks.base import Embedded, Feature, Finish, Model, TextsToEmbed, Token
from dimora.tasks.options import LoadOptions, Sampling

# An engine that rounds weights of the file, or leaves out a part of the model, ranks itself lower:
# being fast does not make up for that.
FAITHFUL_RANK = 30


class EngineSettings(msgspec.Struct, frozen=True, kw_only=True):
    """The part of the settings that engines see. `scratch_path` is a private 0700 directory.

    `llama_server_path` is the executable to run, `llama_server_from` who named it, in words;
    `llama_server_build` is another when the executable is. `llama_server_refused` says why the one
    that was named is not run.
    """

    scratch_path: str
    cache_path: str = ""
    llama_server_path: str = ""
    llama_server_from: str = ""
    llama_server_build: str = ""
    llama_server_refused: str = ""


class Offer(msgspec.Struct, frozen=True, kw_only=True):
    """Whether an engine can run here; `reason` says why not, or what it is. Where there is no
    `version`, `build` is another when the engine is."""

    available: bool
    version: str = ""
    build: str = ""
    reason: str = ""


class ModelFiles(msgspec.Struct, frozen=True, kw_only=True):
    """Paths of the model's files; checked before an engine sees them.

    `adapters` are paths with their scales. A model that is a folder has no `weights` but `folder`,
    the path of each file by its relative name.
    """

    weights: str = ""
    projector: str = ""
    adapters: tuple[tuple[str, float], ...] = ()
    draft: str = ""
    folder: dict[str, str] = {}


class Cancellation:
    """Tells a running answer to stop, from another thread."""

    def __init__(self) -> None:
        self._event = threading.Event()
        self._lock = threading.Lock()
        self._calls: list[Callable[[], None]] = []

    @property
    def cancelled(self) -> bool:
        return self._event.is_set()

    def cancel(self) -> None:
        """Idempotent; runs the registered calls in the caller's thread."""
        with self._lock:
            if self._event.is_set():
                return
            self._event.set()
            calls, self._calls = self._calls, []
        for call in calls:
            call()

    def on_cancel(self, call: Callable[[], None]) -> None:
        """Run `call` at cancellation, at once if that has been."""
        with self._lock:
            if not self._event.is_set():
                self._calls.append(call)
                return
        call()


class Engine(Protocol):
    """A loaded model. Methods are called from several threads at once, `options.parallel` at most.

    `name` and `version` are for people, `features` says what tasks may rely on, `context_tokens`
    is the window each answer has.
    """

    name: str
    version: str
    features: frozenset[Feature]
    context_tokens: int

    def generate(
        self, prompt: Prompt, sampling: Sampling, cancel: Cancellation
    ) -> Iterator[Token | Finish]:
        """Tokens as they are made, then one Finish. Blocks between them.

        Stop strings end the answer and are not part of it. After `cancel` the iterator ends soon,
        with no Finish. Raises DimoraError.
        """

    def embed(self, wanted: TextsToEmbed, cancel: Cancellation) -> Embedded:
        """Raises BadRequest for a text that is too long and may not be cut. After `cancel` it
        returns soon, with whatever it has."""

    def tokenize(self, text: str, add_special: bool) -> list[int]:
        """Special tokens in `text` become single tokens."""

    def detokenize(self, tokens: Sequence[int]) -> str:
        """Special tokens are written out."""

    def close(self) -> None:
        """End everything the engine started."""


class EngineModule(Protocol):
    """The shape of an engine's file."""

    def offer(self, settings: EngineSettings) -> Offer: ...

    def refuses(self, model: Model) -> str: ...

    def rank(self, model: Model, settings: EngineSettings) -> tuple[int, str]: ...

    def footprint(self, model: Model, options: LoadOptions) -> Footprint: ...

    def load(
        self, files: ModelFiles, model: Model, options: LoadOptions, settings: EngineSettings
    ) -> Engine: ...
