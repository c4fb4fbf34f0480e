"""llama.cpp: its HTTP server on a UNIX socket, and the requests we send there.

The server is either a `llama-server` executable (any build: native CPU, CUDA, Metal, Vulkan) as a
child process, or the one inside the `xllamacpp` wheel, in this process. Both listen on a socket
in a private directory, with a key, and open no port; everything after that is the same.
"""

from __future__ import annotations

import http.client
import json
import os
import secrets
import subprocess
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Protocol

import msgspec

from dimora.core.errors import (
    InternalError,
    InvalidModel,
    WorkerDied,
)
from dimora.core.parent_death import die_with_parent
from dimora.core.processor import usable_cores
from dimora.engines._beginnings import Words
from dimora.engines._fitting import fit_texts
from dimora.engines._grammar import schema_grammar
from dimora.engines._llama_cpp_memory import footprint as footprint
from dimora.engines._llama_cpp_slots import Place, Slots
from dimora.engines._llama_cpp_wire import Connection, read_stream, refusal
from dimora.engines.base import Cancellation, EngineSettings, ModelFiles, Offer
from dimora.prompts.prompt import Prompt
from dimora.tasks.base import (
    Embedded,
    Feature,
    Finish,
    Model,
    TextsToEmbed,
    Token,
)
from dimora.tasks.options import LoadOptions, Sampling

# A UNIX socket's path has room for 107 bytes and a terminating zero.
_SOCKET_PATH_LIMIT = 107
# Texts in a request: the server looks for a client that left only when a second passes without one.
_EMBED_BATCH = 8
_AS_IT_IS = -1
_SAMPLERS = ("penalties", "top_k", "typ_p", "top_p", "min_p", "temperature")
# Marks that some models have as control tokens, which the server would leave out of the text.
_MARKS: tuple[str, ...] = (
    *("[TOOL_CALLS]", "[ARGS]", "<|python_tag|>", "<tool_call>", "</tool_call>"),
    *("<think>", "</think>", "[THINK]", "[/THINK]", "<|START_THINKING|>", "<|END_THINKING|>"),
)


def offer(settings: EngineSettings) -> Offer:
    if settings.llama_server_path:
        return Offer(
            available=True,
            build=settings.llama_server_build,
            reason=f"the llama-server of {settings.llama_server_from}",
        )
    if settings.llama_server_refused and settings.llama_server_from == "the settings":
        return Offer(available=False, reason=settings.llama_server_refused)
    try:
        return Offer(available=True, version=version("xllamacpp"), reason="the built-in server")
    except PackageNotFoundError:
        return Offer(available=False, reason="neither llama-server nor xllamacpp is installed")


def refuses(model: Model) -> str:
    return "" if model.summary.details.format == "gguf" else "it reads GGUF files only"


def rank(model: Model, settings: EngineSettings) -> tuple[int, str]:
    if settings.llama_server_path:
        return (
            60,
            f"llama.cpp loads every GGUF, by the llama-server of {settings.llama_server_from}",
        )
    reason = "llama.cpp loads every GGUF, by the built-in server"
    refused = settings.llama_server_refused
    return 40, f"{reason}; {refused}" if refused else reason


def load(
    files: ModelFiles, model: Model, options: LoadOptions, settings: EngineSettings
) -> LlamaCpp:
    """Raises InvalidModel when the server cannot load the file."""
    address = Path(settings.scratch_path) / f"{secrets.token_hex(4)}.sock"
    if len(os.fsencode(address)) > _SOCKET_PATH_LIMIT:
        raise InternalError(
            "the path for the engine's socket is too long", hint="choose a shorter DIMORA_HOME"
        )
    setup = _Setup(
        files=files,
        options=options,
        address=str(address),
        key=secrets.token_urlsafe(32),
        embedding=model.can("embedding"),
    )
    server: _Server
    if settings.llama_server_path:
        server = _Executable(settings.llama_server_path, setup)
    else:
        server = _BuiltIn(setup)
    return LlamaCpp(server, setup)


class _Setup(msgspec.Struct, frozen=True, kw_only=True):
    """What either server is started with."""

    files: ModelFiles
    options: LoadOptions
    address: str
    key: str
    embedding: bool

    @property
    def threads(self) -> int:
        return self.options.num_thread or usable_cores()

    @property
    def batch(self) -> int:
        # An embedding reads its whole text in one batch.
        return self.options.num_ctx if self.embedding else self.options.num_batch


class _Server(Protocol):
    version: str

    def check(self) -> None:
        """Raises WorkerDied when the server is gone."""

    def close(self) -> None: ...


class _BuiltIn:
    """The server of the xllamacpp wheel, in threads of this process."""

    def __init__(self, setup: _Setup) -> None:
        import xllamacpp

        options = setup.options
        params = xllamacpp.CommonParams()
        params.model.path = setup.files.weights
        params.hostnames = [setup.address]
        params.api_keys = [setup.key]
        params.ui = False
        params.cors_origins = ""
        params.offline = True
        params.endpoint_slots = False
        params.fit_params = False
        params.verbosity = 1
        params.n_ctx = options.num_ctx * options.parallel
        params.n_parallel = options.parallel
        params.n_batch = params.n_ubatch = setup.batch
        params.cpuparams.n_threads = setup.threads
        params.cpuparams_batch.n_threads = setup.threads
        params.n_gpu_layers = options.num_gpu
        params.ctx_shift = True
        params.warmup = False
        # It would be shared by everybody; what a slot holds we know whose it is.
        params.cache_ram_mib = 0
        params.embedding = setup.embedding
        # One thread for each answer, each client that leaves, and a few for tokenizing.
        params.n_threads_http = 2 * options.parallel + 4
        if options.main_gpu is not None:
            params.main_gpu = options.main_gpu
        if options.use_mmap is False:
            params.load_mode = xllamacpp.llama_load_mode.LLAMA_LOAD_MODE_NONE
        params.lora_adapters = [
            xllamacpp.CommonAdapterLoraInfo(adapter, scale)
            for adapter, scale in setup.files.adapters
        ]
        if setup.files.draft:
            kind = xllamacpp.common_speculative_type.COMMON_SPECULATIVE_TYPE_DRAFT_SIMPLE
            params.speculative.types = [kind]
            params.speculative.draft.mparams.path = setup.files.draft
            params.speculative.draft.n_max = options.draft_num_predict
        self.version = version("xllamacpp")
        self._address = setup.address
        try:
            self._server = xllamacpp.Server(params)
        except (RuntimeError, ValueError):
            raise _cannot_load() from None

    def check(self) -> None:
        """It lives as long as this process."""

    def close(self) -> None:
        """Its memory goes with the process: freeing it waits for the batch that is computed."""
        Path(self._address).unlink(missing_ok=True)


class _Executable:
    """A llama-server as a child process that dies with us."""

    def __init__(self, path: str, setup: _Setup) -> None:
        options, files = setup.options, setup.files
        address = Path(setup.address)
        # It runs in the directory of its socket: a comma in a path would be read as a mark.
        argv = [str(Path(path).absolute()), "-m", files.weights, "--host", address.name]
        argv += ["-c", str(options.num_ctx * options.parallel), "-np", str(options.parallel)]
        argv += ["-b", str(setup.batch), "-ub", str(setup.batch), "-t", str(setup.threads)]
        argv += ["-cram", "0", "--context-shift", "--no-warmup", "--no-slots"]
        argv += ["--offline", "--no-ui", "--log-verbosity", "1", "--cors-origins", ""]
        argv += ["--threads-http", str(2 * options.parallel + 4)]
        if options.num_gpu >= 0:
            argv += ["-ngl", str(options.num_gpu)]
        if options.main_gpu is not None:
            argv += ["-mg", str(options.main_gpu)]
        if options.use_mmap is False:
            argv += ["--load-mode", "none"]
        if setup.embedding:
            argv += ["--embedding"]
        named = _named_adapters(setup)
        if named:
            scaled = (f"{link.name}:{scale!r}" for link, scale in named)
            argv += ["--lora-scaled", ",".join(scaled)]
        if files.draft:
            argv += ["--model-draft", files.draft, "--spec-type", "draft-simple"]
            argv += ["--spec-draft-n-max", str(options.draft_num_predict)]
        # It is asked while the other loads.
        asked = subprocess.Popen(
            [path, "--version"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        # The key goes by the environment: argv can be read by every user of the machine.
        self._child = subprocess.Popen(
            argv,
            env=os.environ | {"LLAMA_API_KEY": setup.key},
            cwd=address.parent,
            stdin=subprocess.DEVNULL,
            preexec_fn=die_with_parent,
        )
        try:
            self._wait_until_ready(setup)
        finally:
            for link, _ in named:
                link.unlink()
            told = asked.communicate()[0]
        self.version = told.partition("\n")[0].removeprefix("version:").strip()

    def _wait_until_ready(self, setup: _Setup) -> None:
        while True:
            if self._child.poll() is not None:
                raise _cannot_load()
            with suppress(OSError, http.client.HTTPException):
                connection = Connection(setup.address)
                connection.request("GET", "/health")
                status = connection.getresponse().status
                connection.close()
                if status == http.client.OK:
                    return
            time.sleep(0.02)

    def check(self) -> None:
        if self._child.poll() is not None:
            raise WorkerDied("llama-server ended", hint="ask again; the model is loaded anew")

    def close(self) -> None:
        self._child.terminate()
        try:
            self._child.wait(3)
        except subprocess.TimeoutExpired:
            self._child.kill()


def _named_adapters(setup: _Setup) -> list[tuple[Path, float]]:
    """A plain name beside the socket for each adapter, with its scale: the server reads `:` and `,`
    in its argument as marks of its own, and a path may have them."""
    named = []
    for number, (path, scale) in enumerate(setup.files.adapters):
        link = Path(setup.address).with_suffix(f".{number}.gguf")
        link.symlink_to(path)
        named.append((link, scale))
    return named


def _cannot_load() -> InvalidModel:
    return InvalidModel(
        "llama.cpp cannot load this model file",
        hint="log/workers.log in the home has its reason; the file may be too new or damaged",
        code="engine_cannot_load",
    )


class LlamaCpp:
    """See engines.base.Engine."""

    name = "llama_cpp"

    def __init__(self, server: _Server, setup: _Setup) -> None:
        self.version = server.version
        self.context_tokens = setup.options.num_ctx
        work: set[Feature] = {"embed"} if setup.embedding else set(_WRITING)
        if setup.files.draft:
            # The server tells no probabilities of tokens that its draft guessed.
            work -= {"logprobs", "top_logprobs"}
        self.features: frozenset[Feature] = frozenset(work)
        self._server = server
        self._address = setup.address
        self._slots = Slots(setup.options.parallel)
        self._changed = threading.Condition()
        self._headers = {
            "Authorization": f"Bearer {setup.key}",
            "Content-Type": "application/json",
        }

    def generate(
        self, prompt: Prompt, sampling: Sampling, cancel: Cancellation
    ) -> Iterator[Token | Finish]:
        body = _completion(prompt, sampling) | {"n_predict": self._limit(prompt, sampling)}
        place = self._take(prompt.scope, prompt.tokens or prompt.text, cancel)
        if place is None:
            return
        body |= {"id_slot": place.number, "cache_prompt": place.ours}
        connection = Connection(self._address)
        began = ended = False
        try:
            connection.connect()
            cancel.on_cancel(connection.cut)
            answer = self._send(connection, "/completion", body)
            for item in read_stream(answer, sampling.logprobs):
                began = True
                ended = isinstance(item, Finish)
                if cancel.cancelled:
                    return
                yield item
        except (OSError, http.client.HTTPException, ValueError):
            if cancel.cancelled:
                return
            self._server.check()
            raise InternalError("the engine broke off its answer") from None
        finally:
            if not ended:
                connection.cut_and_wait()
            connection.close()
            self._release(place, began)

    def _take(self, scope: str, words: Words, cancel: Cancellation) -> Place | None:
        """Waits for a slot; None after cancelling."""
        cancel.on_cancel(self._look_again)
        with self._changed:
            while not cancel.cancelled:
                if place := self._slots.take(scope, words):
                    return place
                self._changed.wait()
        return None

    def _release(self, place: Place, read: bool) -> None:
        with self._changed:
            self._slots.release(place, read=read)
            self._changed.notify()

    def _look_again(self) -> None:
        with self._changed:
            self._changed.notify_all()

    def _limit(self, prompt: Prompt, sampling: Sampling) -> int:
        """Tokens to write at most; never without end, as forgetting would allow."""
        limit = sampling.num_predict if sampling.num_predict >= 0 else self.context_tokens
        if not sampling.shift:
            read = prompt.tokens or self.tokenize(prompt.text, add_special=True)
            limit = min(limit, self.context_tokens - len(read))
        return limit

    def embed(self, wanted: TextsToEmbed, cancel: Cancellation) -> Embedded:
        texts, cut = fit_texts(wanted, self)
        vectors: list[tuple[float, ...]] = []
        tokens = 0
        for start in range(0, len(texts), _EMBED_BATCH):
            if cancel.cancelled:
                break
            batch = texts[start : start + _EMBED_BATCH]
            asked = {"input": batch, "encoding_format": "float", "embd_normalize": _AS_IT_IS}
            try:
                answer = self._ask("/v1/embeddings", asked, cancel)
            except InternalError:
                if cancel.cancelled:
                    break
                raise
            rows = sorted(answer["data"], key=lambda row: row["index"])
            vectors.extend(tuple(map(float, row["embedding"])) for row in rows)
            tokens += int(answer["usage"]["prompt_tokens"])
        return Embedded(vectors=tuple(vectors), tokens=tokens, cut=cut)

    def tokenize(self, text: str, add_special: bool) -> list[int]:
        body = {"content": text, "add_special": add_special, "parse_special": True}
        return list(self._ask("/tokenize", body)["tokens"])

    def detokenize(self, tokens: Sequence[int]) -> str:
        return str(self._ask("/detokenize", {"tokens": list(tokens)})["content"])

    def close(self) -> None:
        self._server.close()

    def _ask(
        self, path: str, body: dict[str, Any], cancel: Cancellation | None = None
    ) -> dict[str, Any]:
        """Raises InternalError too where it is cancelled before the answer is there."""
        connection = Connection(self._address)
        try:
            connection.connect()
            if cancel is not None:
                cancel.on_cancel(connection.cut)
            answer: dict[str, Any] = json.loads(self._send(connection, path, body).read())
            return answer
        except (OSError, http.client.HTTPException, ValueError):
            self._server.check()
            raise InternalError("the engine did not answer") from None
        finally:
            connection.close()

    def _send(
        self, connection: Connection, path: str, body: dict[str, Any]
    ) -> http.client.HTTPResponse:
        connection.request("POST", path, json.dumps(body), self._headers)
        answer = connection.getresponse()
        if answer.status != http.client.OK:
            raise refusal(answer.status, answer.read())
        return answer


_WRITING: tuple[Feature, ...] = (
    "generate",
    "json_schema",
    "logprobs",
    "top_logprobs",
    "logit_bias",
    "typical_p",
    "repeat_last_n",
    "context_shift",
)


def _completion(prompt: Prompt, sampling: Sampling) -> dict[str, Any]:
    """A request in the words of llama-server's /completion."""
    body: dict[str, Any] = {
        "prompt": list(prompt.tokens) or prompt.text,
        "stream": True,
        "return_tokens": True,
        # News of every batch that was read: while it writes nothing, the server looks only once a
        # second whether anybody is still there.
        "return_progress": True,
        "preserved_tokens": list(_MARKS),
        "samplers": list(_SAMPLERS),
        "seed": sampling.seed,
        "n_keep": sampling.num_keep,
        "temperature": sampling.temperature,
        "top_k": sampling.top_k,
        "top_p": sampling.top_p,
        "min_p": sampling.min_p,
        "typical_p": sampling.typical_p,
        "repeat_last_n": sampling.repeat_last_n,
        "repeat_penalty": sampling.repeat_penalty,
        "presence_penalty": sampling.presence_penalty,
        "frequency_penalty": sampling.frequency_penalty,
        "stop": list(sampling.stop),
        "logit_bias": [[token, bias] for token, bias in sampling.logit_bias.items()],
    }
    if sampling.logprobs is not None:
        # The token's own probability comes only where alternatives are asked for.
        body["n_probs"] = max(sampling.logprobs, 1)
    if prompt.json_schema is not None:
        body["grammar"] = schema_grammar(prompt.json_schema)
    return body
