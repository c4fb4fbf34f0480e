"""What tasks are given to work with: models by name, and engines on loan.

These are Protocols and plain values; `models` and `runtime` make them real.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from typing import Any, Literal, Protocol

import msgspec

from dimora.core.errors import DimoraError
from dimora.core.types import Event, Message, Principal, Progress, Queued
from dimora.prompts.prompt import Prompt
from dimora.tasks.acting import Tools
from dimora.tasks.advice import Acceptance, Advice, Forecast, Speed, Terms
from dimora.tasks.card import Card, Difference
from dimora.tasks.finding import Finding
from dimora.tasks.keeping import BundledModel, BundleKey, BundleTold, Fault, StoreTold
from dimora.tasks.knowing import Knowledge
from dimora.tasks.options import LoadOptions, Options, Sampling
from dimora.tasks.profile import Benched, BenchWish, Profile
from dimora.tasks.recipe import Recipe

# What a principal may be allowed to do; every task names the one it needs.
Right = Literal["use", "read", "manage", "administer"]

# Things an engine may or may not be able to do; tasks ask before they rely on one.
Feature = Literal[
    "generate",
    "embed",
    "json_schema",
    "logprobs",
    "top_logprobs",
    "logit_bias",
    "typical_p",
    "repeat_last_n",
    "context_shift",
    "images",
]


class ModelDetails(msgspec.Struct, frozen=True, kw_only=True):
    """Facts of a model's file: `parameter_size` as `134.52M`, `quantization_level` as `Q4_1`."""

    format: str = "gguf"
    family: str = ""
    families: tuple[str, ...] = ()
    parent_model: str = ""
    parameter_size: str = ""
    quantization_level: str = ""
    context_length: int = 0
    embedding_length: int = 0


class ModelSummary(msgspec.Struct, frozen=True, kw_only=True):
    """One line of the list of models. `digest` is 64 hex digits of the manifest's sha256;
    `modified_at` is seconds since 1970; `size_bytes` sums the layers."""

    name: str
    digest: str
    size_bytes: int
    modified_at: float
    details: ModelDetails
    capabilities: tuple[str, ...] = ()


class EmbeddingHabits(msgspec.Struct, frozen=True, kw_only=True):
    """How an embedding model wants its input: prefixes, and Unicode form (`NFKC` or empty)."""

    query_prefix: str = ""
    passage_prefix: str = ""
    unicode_form: str = ""


class Model(msgspec.Struct, frozen=True, kw_only=True):
    """A model as tasks see it: no paths. Made by `models` from manifest and file header.

    `weights_digest` names the model file; for a bare file it is made of what the file system says
    of it, for a folder of files of the digests of all.
    `adapters` are digests of adapter files, each with its scale.
    `draft` is the model that guesses ahead, as far as its file tells.
    `documents` are the names of documents that belong to the model, `document_bytes` their size;
    `documents_digest` is of their names and bytes (64 hex digits, or empty).
    `chat_template` is the Jinja template in the model file, `template` the Go one of the manifest.
    `metadata` holds all key-values of the model file; long arrays are lists cut to nothing.
    `fim` holds the fill-in-the-middle tokens (prefix, suffix, middle) or is empty.
    `template_digest` is of both, and `template_changed_at` when they were last changed under this
    name (seconds since 1970, 0 for never).
    `tensors` are name, format and shape (fastest dimension first), `tensor_bytes` their sizes.
    `tensor_types` are the names of the tensor formats in the file (`Q4_1`, `F32`, ...).
    """

    summary: ModelSummary
    weights_digest: str
    architecture: str = ""
    options: Options = Options()
    system: str = ""
    template: str = ""
    chat_template: str = ""
    bos_token: str = ""
    eos_token: str = ""
    fim: tuple[str, ...] = ()
    messages: tuple[Message, ...] = ()
    licenses: tuple[str, ...] = ()
    metadata: dict[str, Any] = {}
    tensors: tuple[tuple[str, str, tuple[int, ...]], ...] = ()
    tensor_bytes: tuple[int, ...] = ()
    tensor_types: tuple[str, ...] = ()
    embedding: EmbeddingHabits = EmbeddingHabits()
    adapters: tuple[tuple[str, float], ...] = ()
    projector_digest: str = ""
    draft_digest: str = ""
    draft: Model | None = None
    documents: tuple[str, ...] = ()
    documents_digest: str = ""
    document_bytes: int = 0
    renderer: str = ""
    parser: str = ""
    requires: str = ""
    template_digest: str = ""
    template_changed_at: float = 0.0
    card: Card | None = None

    @property
    def load_key(self) -> str:
        """Equal for models that one worker can serve: the same weights and what goes with them."""
        extras = [f"{digest}*{scale:g}" for digest, scale in self.adapters]
        extras += [digest for digest in (self.projector_digest, self.draft_digest) if digest]
        return "+".join([self.weights_digest, *extras])

    @property
    def name(self) -> str:
        return self.summary.name

    @property
    def engine_bytes(self) -> int:
        """The size of what an engine opens: all files but the documents."""
        return self.summary.size_bytes - self.document_bytes

    @property
    def trained_context(self) -> int:
        return self.summary.details.context_length

    def can(self, capability: str) -> bool:
        return capability in self.summary.capabilities


class ToolchainState(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of the llama.cpp toolchain. `state` is one of `installed`, `begun`,
    `for another processor`, `not installed`; `way` says how its kernels were compiled, `notes`
    what did not work, `commit` is llama.cpp's. Times are seconds, `built_at` since 1970."""

    state: str
    wanted_version: str
    version: str = ""
    commit: str = ""
    way: str = ""
    notes: tuple[str, ...] = ()
    built_at: float = 0.0
    seconds: float = 0.0
    size_bytes: int = 0
    programs: tuple[str, ...] = ()


class StoredBlob(msgspec.Struct, frozen=True, kw_only=True):
    """A file that is in the store now. `created`: it was not before. `linked`: it is the very file
    it came from, which is read-only now."""

    digest: str
    size_bytes: int
    created: bool = True
    linked: bool = False


class ManifestFile(msgspec.Struct, frozen=True, kw_only=True):
    """A manifest as it lies in the store. `name` is the model's, `digest` that of `data`."""

    name: str
    digest: str
    media_type: str
    data: bytes


class OpenBlob(Protocol):
    """A file of the store that is being read."""

    digest: str
    size_bytes: int

    def read(self, start: int, length: int) -> bytes:
        """At most `length` bytes; blocks. Nothing at the end of the file."""

    def close(self) -> None: ...


class Models(Protocol):
    """The keeper of models, as tasks use it."""

    def all(self) -> list[ModelSummary]:
        """Newest first."""

    def find(self, name: str) -> Model:
        """Raises NotFound, or InvalidModel when the file is broken."""

    def pull(
        self, name: str, *, insecure: bool = False, accepts_licence: bool = False
    ) -> AsyncGenerator[Progress, None]:
        """Fetch a model into the store; atomic, resumes what an earlier pull left.

        Raises Forbidden when its licence has to be accepted and nobody has.
        """

    def catalogue(self) -> list[Advice]:
        """The models that are known of, wherever they are; without memory and fit."""

    def terms_of(self, name: str) -> Terms | None:
        """The licence the catalogue names for a model, if it knows its family."""

    def advised(self, name: str) -> Model | None:
        """A model of the catalogue as far as its shape goes, to be planned with, never loaded."""

    def acceptances(self, name: str) -> list[Acceptance]:
        """Who accepted the licence of the model of this name."""

    def push(self, name: str, *, insecure: bool = False) -> AsyncGenerator[Progress, None]:
        """Send a model to its name's registry. Raises NotFound, Forbidden, SourceFailed."""

    def copy(self, source: str, destination: str) -> None:
        """Raises NotFound or BadRequest."""

    def delete(self, name: str) -> None:
        """Raises NotFound or BadRequest."""

    def create(
        self, name: str, recipe: Recipe, warnings: list[str]
    ) -> AsyncGenerator[Progress, None]:
        """Make a model; what was done otherwise than asked is added to `warnings`.

        Raises NotFound, BadRequest, InvalidModel, StorageFull.
        """

    def install_toolchain(self, jobs: int) -> AsyncGenerator[Progress, None]:
        """Fetch and build llama.cpp's programs; goes on where an earlier try ended.

        `jobs` compilers run at a time, 0 for as many as fit.
        Raises NotFound, Conflict, SourceFailed, StorageFull, InternalError.
        """

    def toolchain(self) -> ToolchainState: ...

    def remove_toolchain(self) -> bool:
        """True when there was something. Raises Conflict."""

    def find_blob(self, digest: str) -> int | None:
        """Bytes of a file in the store, None when it is not here or damaged; blocks.

        Raises BadRequest for what is no digest.
        """

    async def store_blob(
        self, digest: str, content: AsyncIterator[bytes], size_bytes: int | None
    ) -> StoredBlob:
        """Take bytes into the store as they come. Raises BadRequest, StorageFull."""

    def export_bundle(
        self, names: Sequence[str], path: str, *, replace: bool
    ) -> AsyncGenerator[Progress, None]:
        """Write models into one signed file.

        Raises Forbidden to all but the terminal, NotFound, BadRequest, Conflict, InvalidModel,
        StorageFull.
        """

    def import_bundle(
        self, path: str, *, replace: bool, trust: str, remember: bool
    ) -> AsyncGenerator[Progress | BundledModel, None]:
        """Take the models of a bundle into the store; each is told at the end.

        Raises Forbidden to all but the terminal and for a signer who is not trusted, NotFound,
        BadRequest, Conflict, InvalidModel, StorageFull.
        """

    def tell_bundle(self, path: str) -> BundleTold:
        """Raises Forbidden to all but the terminal, NotFound, InvalidModel."""

    def bundle_key(self) -> BundleKey:
        """Made at first use. Raises ConfigurationError, StorageFull."""

    def verify(
        self, names: Sequence[str], *, repair: bool
    ) -> AsyncGenerator[Progress | Fault | StoreTold, None]:
        """Look at these models, or at the whole store; Faults, then one StoreTold, last.

        `repair` fetches again what is damaged or missing, where a source has it, and removes
        files no model needs. Raises NotFound, StorageFull, ConfigurationError.
        """

    def take_file(self, path: str) -> AsyncGenerator[Progress | StoredBlob, None]:
        """Take a file of this machine into the store; one StoredBlob, last.

        Raises Forbidden to all but the terminal, NotFound, BadRequest, StorageFull.
        """

    def optimize(
        self, name: str, source: str, bits: int, group: int, warnings: list[str]
    ) -> AsyncGenerator[Progress, None]:
        """Make the OpenVINO form of a model; what could be better is added to `warnings`.

        Raises NotFound, BadRequest, InvalidModel, StorageFull.
        """

    async def scoring_text(self) -> str:
        """The text that comes with the house, to compare models over."""

    async def difference(self, before: Model, after: Model, text: str) -> Difference:
        """How two forms of a model predict a text. Raises UnsupportedFeature, NotFound."""

    async def keep_card(self, name: str, card: Card) -> None:
        """Store the card with the model."""

    def tags(self, repository: str) -> list[str]:
        """Of a name without its tag. Raises NotFound."""

    def read_manifest(self, repository: str, reference: str) -> ManifestFile:
        """By tag or digest. Raises NotFound, BadRequest, InvalidModel."""

    def open_blob(self, repository: str, digest: str) -> OpenBlob:
        """Of a file that some manifest of the repository needs. Raises NotFound, BadRequest."""


class TopToken(msgspec.Struct, frozen=True, array_like=True):
    id: int
    text: str
    logprob: float


class Token(msgspec.Struct, frozen=True, array_like=True):
    """What an engine yields. `text` is whole UTF-8, empty while a character is unfinished.

    `logprob` is the natural logarithm of its probability, None when not asked for.
    """

    id: int
    text: str
    logprob: float | None = None
    top: tuple[TopToken, ...] = ()


class Finish(msgspec.Struct, frozen=True, kw_only=True):
    """The last thing an engine yields; `reason` is `stop` or `length`."""

    reason: Literal["stop", "length"]
    prompt_tokens: int = 0
    cached_tokens: int = 0
    output_tokens: int = 0
    prompt_seconds: float = 0.0
    output_seconds: float = 0.0


class TextsToEmbed(msgspec.Struct, frozen=True, kw_only=True):
    """A text of more than `window` tokens is cut, or refused without `truncate`."""

    texts: tuple[str, ...]
    window: int
    truncate: bool = True


class Embedded(msgspec.Struct, frozen=True, kw_only=True):
    """Vectors as the model gives them (not normalised), in the order of the texts.

    `cut` are the positions of the texts that were cut.
    """

    vectors: tuple[tuple[float, ...], ...]
    tokens: int
    cut: tuple[int, ...] = ()


class Running(msgspec.Struct, frozen=True, kw_only=True):
    """One loaded model, for `ps`. `expires_at` is seconds since 1970, infinite for forever.

    `memory_bytes` is measured. `engine_reason` says in words why this engine was chosen.
    """

    summary: ModelSummary
    engine: str
    engine_version: str
    engine_reason: str
    options: LoadOptions
    expires_at: float
    memory_bytes: int
    gpu_memory_bytes: int = 0
    active: int = 0
    queued: int = 0


class Loan(Protocol):
    """A loaded model, for the length of one request."""

    model: Model
    engine: str
    features: frozenset[str]
    num_ctx: int
    load_seconds: float
    queue_seconds: float

    def generate(self, prompt: Prompt, sampling: Sampling) -> AsyncGenerator[Token | Finish, None]:
        """Tokens, then one Finish. Closing the iterator stops the engine."""

    async def embed(self, wanted: TextsToEmbed) -> Embedded:
        """Raises BadRequest for a text that is too long and may not be cut."""

    async def tokenize(self, text: str, *, add_special: bool = True) -> list[int]: ...

    async def detokenize(self, tokens: Sequence[int]) -> str: ...


class Reservation(Protocol):
    """A place in a model's queue; leave the `async with` to give place or loan back."""

    async def __aenter__(self) -> Reservation: ...

    async def __aexit__(self, *exc: object) -> None: ...

    def wait(self) -> AsyncIterator[Queued]:
        """Yields each new place in the queue; ends when the loan is there.

        Raises Overloaded, TooManyRequests, InvalidModel, WorkerDied, StorageFull.
        """

    @property
    def loan(self) -> Loan:
        """The loaded model; only after `wait` has ended."""


class Rooms(Protocol):
    """What a task may use, already narrowed to the principal who asks."""

    principal: Principal
    models: Models
    knowledge: Knowledge
    default_embedder: str
    """The name of the embedding model for collections that name none."""
    tools: Tools
    content: AsyncIterator[bytes] | None
    """What came with the request beside its words, such as an upload; read it at most once."""

    def reserve(
        self, model: Model, options: Options, *, keep_alive: float | None, batch: bool = False
    ) -> Reservation:
        """Ask for the model, loaded with these options.

        `keep_alive` is seconds to keep it after this request, FOREVER, 0 to unload it then,
        None to leave what holds now.
        """

    def running(self) -> list[Running]:
        """Latest expiry first."""

    async def unload(self, model: Model) -> None:
        """End the model's worker as soon as its last request is answered."""

    def processor(self) -> str:
        """What this machine computes with, in words."""

    def forecast(self, model: Model, options: Options, *, parallel: int = 0) -> Forecast:
        """How the model would be loaded with these options, and what that takes.

        `parallel` 0 means as many answers at a time as the settings say.
        Raises UnsupportedFeature when no engine, or not the pinned one, can load it.
        """

    async def speed(self, model: Model, forecast: Forecast) -> Speed:
        """How fast it would write; measures the memory of this machine the first time."""

    def refusals(self, model: Model) -> dict[str, str]:
        """Why each engine that cannot load this model cannot, by the engine's name."""

    def bench(
        self, model: Model, wish: BenchWish
    ) -> AsyncGenerator[Progress | Queued | Benched, None]:
        """Time engines with a model; one Benched, last.

        Raises UnsupportedFeature, Conflict when others would disturb it or be disturbed.
        """

    def profile(self, model: Model) -> Profile | None:
        """The measurement that decides which engine runs a model, or did while it held."""

    async def forget_profile(self, model: Model) -> bool:
        """True when there was one."""

    def examine(self, *, reach: bool) -> AsyncGenerator[Finding, None]:
        """What there is to know of the house; with `reach` every host of the settings is asked."""


class Task(Protocol):
    """The shape of a task's module."""

    RIGHT: Right

    def run(self, request: Any, rooms: Rooms) -> AsyncIterator[Event]: ...


def readable_or_none(rooms: Rooms, name: str) -> Model | None:
    """The model; None where there is none, or its file is broken."""
    try:
        return rooms.models.find(name)
    except DimoraError:
        return None
