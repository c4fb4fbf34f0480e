"""Loans of loaded models to requests: carries out what the scheduler decides.

Owns the workers. The scheduler decides, this room starts and ends processes and tells it what
became of them.
"""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import logging
import math
import secrets
import shutil
import tempfile
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any

import msgspec
import psutil

from dimora.core.errors import DimoraError, InternalError
from dimora.core.settings import Settings
from dimora.core.types import Queued
from dimora.engines.base import EngineSettings, ModelFiles
from dimora.ledger.ledger import Ledger
from dimora.prompts.prompt import Prompt
from dimora.runtime import messages, scheduler
from dimora.runtime.llama_servers import LlamaServers
from dimora.runtime.scheduler import Demand, Effect, Limits, Scheduler
from dimora.runtime.seats import Plan
from dimora.runtime.workers import Blanks, Worker
from dimora.storage.disk import make_private_directory
from dimora.tasks.base import Embedded, Finish, Model, Running, TextsToEmbed, Token
from dimora.tasks.options import Sampling

_log = logging.getLogger("dimora.runtime")
# How often one who waits hears of a new place in the queue; places are counted no more often.
_PLACE_SECONDS = 0.5
# Memory is measured again when an answer ended, but not more often than this.
_MEASURE_SECONDS = 5.0
# Share of the free memory that models may take when the settings name no limit.
_FREE_SHARE = 0.8
# A UNIX socket's path has room for about 100 bytes; longer homes get a scratch place elsewhere.
_LONGEST_HOME = 70


class Loaded:
    """A worker, and what it was started with."""

    def __init__(self, model: Model, plan: Plan, worker: Worker, load_seconds: float) -> None:
        self.model = model
        self.plan = plan
        self.worker = worker
        self.load_seconds = load_seconds
        self.loaded_at = time.monotonic()
        self.measured_at = self.loaded_at
        self.memory_bytes = 0


class Lending:
    """Starts and ends workers as the scheduler says, and lends them to requests.

    `files_of` gives the checked files of a model; it may block and runs in a thread.
    """

    def __init__(
        self, settings: Settings, ledger: Ledger, files_of: Callable[[Model], ModelFiles]
    ) -> None:
        self._settings = settings
        self._ledger = ledger
        self._files_of = files_of
        self._llama_servers = LlamaServers(settings)
        limits = Limits(
            max_queue=settings.max_queue,
            max_queue_per_workspace=settings.max_queue_per_workspace,
            max_loaded=settings.max_loaded_models,
            keep_alive_seconds=settings.keep_alive_seconds,
        )
        self._scheduler = Scheduler(limits, self._memory_limit)
        # How many requests ever came.
        self.arrived = 0
        self._tickets = itertools.count(1)
        self._grants: dict[int, asyncio.Future[Loaded]] = {}
        self._models: dict[str, Model] = {}
        self._loaded: dict[str, Loaded] = {}
        self._blanks = Blanks(settings.home / "log" / "workers.log")
        self._keeps_spare = False
        self._places: dict[str, tuple[float, dict[int, int]]] = {}
        self._jobs: set[asyncio.Task[None]] = set()
        self._loads: set[asyncio.Task[None]] = set()
        self._alarm: asyncio.TimerHandle | None = None
        self._closed = False
        self._scratch: Path | None = None
        # So that engines, and what they write down, never see the name of a workspace.
        self._scope_key = secrets.token_bytes(32)

    # For requests.

    def reserve(
        self,
        model: Model,
        plan: Plan,
        *,
        workspace: str,
        keep_alive: float | None,
        batch: bool,
        seat: str = "",
    ) -> LentReservation:
        """`seat` is one of its own, beside that of all who ask for the model."""
        demand = Demand(
            ticket=next(self._tickets),
            seat=seat or model.load_key,
            plan=plan,
            workspace=workspace,
            batch=batch,
            keep_alive_seconds=keep_alive,
        )
        return LentReservation(self, model, demand)

    def arrive(self, model: Model, demand: Demand) -> asyncio.Future[Loaded]:
        """The future holds the loan, or why there is none."""
        grant: asyncio.Future[Loaded] = asyncio.get_running_loop().create_future()
        self.arrived += 1
        self._grants[demand.ticket] = grant
        self._models[demand.seat] = model
        self._carry_out(self._scheduler.arrive(demand, time.monotonic()))
        return grant

    def depart(self, demand: Demand) -> None:
        grant = self._grants.pop(demand.ticket, None)
        if grant is not None and not grant.cancel() and not grant.cancelled():
            grant.exception()  # It was heard, or its caller is gone: nobody will ask again.
        self._measure(demand.seat)
        self._carry_out(self._scheduler.depart(demand.ticket, time.monotonic()))

    def began(self, demand: Demand) -> None:
        """The first of its answer is there."""
        self._carry_out(self._scheduler.began(demand.ticket, time.monotonic()))

    def place(self, demand: Demand) -> int:
        """1 for the next; 0 for one who does not wait, or came after they were counted."""
        now = time.monotonic()
        counted_at, places = self._places.get(demand.seat, (-math.inf, {}))
        if counted_at + _PLACE_SECONDS <= now:
            places = self._scheduler.places(demand.seat, now)
            self._places[demand.seat] = now, places
        return places.get(demand.ticket, 0)

    def scope_of(self, demand: Demand) -> str:
        """Stands for the workspace in engines, as long as this server runs."""
        name = demand.workspace.encode()
        return hashlib.blake2b(name, key=self._scope_key, digest_size=16).hexdigest()

    def note_wait(self, model: Model, seconds: float) -> None:
        self._ledger.note_wait(model.name, seconds)

    def crowded_by(self, estimate_bytes: int) -> list[str]:
        """The names of the models of which one would have to leave memory for so much."""
        seats = self._scheduler.crowded_by(estimate_bytes)
        return sorted({self._models[seat].name for seat in seats})

    def requests(self) -> int:
        """How many are answered or wait, for all models."""
        return self._scheduler.requests()

    async def emptied(self, seat: str) -> None:
        """Returns when the worker of a seat that is stopping has ended."""
        while seat in self._scheduler.seats and self._jobs:
            await asyncio.wait(list(self._jobs), return_when=asyncio.FIRST_COMPLETED)

    async def unload(self, model: Model) -> None:
        self._carry_out(self._scheduler.unload(model.load_key, time.monotonic()))

    def running(self) -> list[Running]:
        """Latest expiry first."""
        shift = time.time() - time.monotonic()
        rows = []
        for name, loaded in self._loaded.items():
            seat = self._scheduler.seats.get(name)
            if seat is None:
                continue
            self._measure(name, at_once=True)
            expires = float("inf") if seat.active else seat.expires_at
            if seat.active and seat.keep_alive_seconds != float("inf"):
                expires = time.monotonic() + seat.keep_alive_seconds
            rows.append(
                Running(
                    summary=loaded.model.summary,
                    engine=loaded.plan.engine,
                    engine_version=loaded.worker.version,
                    engine_reason=loaded.plan.reason,
                    options=loaded.plan.options,
                    expires_at=expires + shift,
                    memory_bytes=loaded.memory_bytes,
                    active=len(seat.active),
                    queued=len(seat.queue),
                )
            )
        return sorted(rows, key=lambda r: r.expires_at, reverse=True)

    async def close(self) -> None:
        """End every worker."""
        self._closed = True
        if self._alarm is not None:
            self._alarm.cancel()
        for job in self._loads:
            job.cancel()
        await asyncio.gather(*self._jobs, return_exceptions=True)
        await asyncio.gather(*(loaded.worker.stop() for loaded in self._loaded.values()))
        self._loaded.clear()
        await self._blanks.close()
        if self._scratch is not None:
            shutil.rmtree(self._scratch, ignore_errors=True)

    # What the scheduler wants done.

    def _carry_out(self, effects: list[Effect]) -> None:
        for effect in effects:
            match effect:
                case scheduler.Grant(ticket=ticket, seat=name):
                    self._grant(ticket, name)
                case scheduler.Refuse(ticket=ticket, error=error):
                    self._refuse(ticket, error)
                case scheduler.Load(seat=name, plan=plan) if not self._closed:
                    load = self._begin(self._load(name, plan))
                    self._loads.add(load)
                    load.add_done_callback(self._loads.discard)
                case scheduler.Stop(seat=name):
                    self._begin(self._stop(name))
        self._set_alarm()

    def _grant(self, ticket: int, name: str) -> None:
        grant = self._grants.get(ticket)
        loaded = self._loaded.get(name)
        if grant is not None and loaded is not None and not grant.done():
            grant.set_result(loaded)

    def _refuse(self, ticket: int, error: DimoraError) -> None:
        grant = self._grants.get(ticket)
        if grant is not None and not grant.done():
            grant.set_exception(error)

    def _begin(self, job: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(job)
        self._jobs.add(task)
        task.add_done_callback(self._jobs.discard)
        return task

    async def _load(self, name: str, plan: Plan) -> None:
        model = self._models[name]
        started = time.monotonic()
        ended = "done"
        try:
            files = await asyncio.to_thread(self._files_of, model)
            load = messages.Load(
                engine=plan.engine,
                files=files,
                model=model,
                options=plan.options,
                settings=self.engine_settings(scratch=True),
            )
            blank = await self._blanks.take()
            worker = await blank.load(load, timeout_seconds=self._settings.load_timeout_seconds)
        except DimoraError as error:
            ended = error.code
            self._load_failed(name, error)
            return
        except OSError as why:
            ended = "os_error"
            failure = InternalError(f"the worker cannot be started: {why.strerror}")
            self._load_failed(name, failure)
            return
        except Exception as why:  # noqa: BLE001
            # A defect of ours, which must not leave those who wait without an answer. Its words
            # may hold content.
            ended = "internal_error"
            _log.error("event=defect kind=%s", type(why).__name__)
            failure = InternalError(f"the model cannot be loaded: {type(why).__name__}")
            self._load_failed(name, failure)
            return
        finally:
            seconds = time.monotonic() - started
            self._ledger.note_load(model.name, plan.engine, ended, seconds)
        loaded = Loaded(model, plan, worker, seconds)
        memory = worker.memory()
        loaded.memory_bytes = memory.resident_bytes
        self._loaded[name] = loaded
        worker.ended.add_done_callback(lambda _: self._on_end(name, loaded))
        now = time.monotonic()
        self._carry_out(self._scheduler.loaded(name, memory.resident_bytes, now, memory.own_bytes))

    def _load_failed(self, name: str, why: DimoraError) -> None:
        self._carry_out(self._scheduler.load_failed(name, why, time.monotonic()))
        self._make_spare()

    def keep_spare(self) -> None:
        """From now on have a process ready while no model is in memory. For servers."""
        self._keeps_spare = True
        self._make_spare()

    def _make_spare(self) -> None:
        in_use = any(seat.in_memory for seat in self._scheduler.seats.values())
        if self._keeps_spare and not in_use and not self._closed:
            self._blanks.prepare()

    def _on_end(self, name: str, loaded: Loaded) -> None:
        """A worker ended by itself: free its seat at once, so that the next request loads anew."""
        if self._closed or self._loaded.get(name) is not loaded:
            return
        del self._loaded[name]
        self._begin(loaded.worker.stop())
        self._carry_out(self._scheduler.stopped(name, time.monotonic()))
        self._make_spare()

    async def _stop(self, name: str) -> None:
        loaded = self._loaded.pop(name, None)
        if loaded is None:
            # It ended by itself in the meantime, which was told.
            return
        await loaded.worker.stop()
        self._carry_out(self._scheduler.stopped(name, time.monotonic()))
        self._make_spare()

    def _set_alarm(self) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None
        now = time.monotonic()
        due = self._scheduler.alarm(now)
        if due is None or due == float("inf") or self._closed:
            return
        loop = asyncio.get_running_loop()
        self._alarm = loop.call_later(due - now + 0.001, self._on_alarm)

    def _on_alarm(self) -> None:
        self._carry_out(self._scheduler.tick(time.monotonic()))

    # Memory and places.

    def memory(self) -> tuple[int, int]:
        """Bytes that are free now, and those all models together may take."""
        own = sum(seat.own_bytes for seat in self._scheduler.seats.values())
        return psutil.virtual_memory().available, self._memory_limit(own)

    def _memory_limit(self, own_bytes: int) -> int:
        if self._settings.memory_limit_bytes:
            return self._settings.memory_limit_bytes
        return int((psutil.virtual_memory().available + own_bytes) * _FREE_SHARE)

    def _measure(self, name: str, *, at_once: bool = False) -> None:
        loaded = self._loaded.get(name)
        now = time.monotonic()
        if loaded is None or (not at_once and now - loaded.measured_at < _MEASURE_SECONDS):
            return
        loaded.measured_at = now
        memory = loaded.worker.memory()
        loaded.memory_bytes = memory.resident_bytes
        self._scheduler.measured(name, memory.resident_bytes, memory.own_bytes)

    def engine_settings(self, *, scratch: bool = False) -> EngineSettings:
        """What engines may know; with `scratch` their private directory is made."""
        if scratch and self._scratch is None:
            self._scratch = _make_scratch(self._settings.home)
        server = self._llama_servers.find()
        return EngineSettings(
            scratch_path=str(self._scratch or ""),
            cache_path=str(self._settings.home / "cache"),
            llama_server_path=server.path,
            llama_server_from=server.named_by,
            llama_server_build=server.build,
            llama_server_refused=server.refused,
        )


def _make_scratch(home: Path) -> Path:
    run = home / "run"
    if len(str(run)) > _LONGEST_HOME:
        return Path(tempfile.mkdtemp(prefix="dimora-"))
    make_private_directory(run)
    return Path(tempfile.mkdtemp(prefix="w-", dir=run))


class LentReservation:
    """A place in a model's queue that becomes a loan; see tasks.base.Reservation."""

    def __init__(self, lending: Lending, model: Model, demand: Demand) -> None:
        self._lending = lending
        self._model = model
        self._demand = demand
        self._grant: asyncio.Future[Loaded] | None = None
        self._arrived = 0.0
        self._loan: LentModel | None = None

    async def __aenter__(self) -> LentReservation:
        self._arrived = time.monotonic()
        self._grant = self._lending.arrive(self._model, self._demand)
        return self

    async def __aexit__(self, *exc: object) -> None:
        self._lending.depart(self._demand)

    async def wait(self) -> AsyncIterator[Queued]:
        """Yields each new place; ends when the loan is there."""
        if self._grant is None:
            raise InternalError("a reservation must be entered before it is waited for")
        last = 0
        while not self._grant.done():
            place = self._lending.place(self._demand)
            if place and place != last:
                yield Queued(place=place)
                last = place
            await asyncio.wait((self._grant,), timeout=_PLACE_SECONDS)
        loaded = self._grant.result()
        waited = time.monotonic() - self._arrived
        loading = loaded.load_seconds if loaded.loaded_at > self._arrived else 0.0
        loading = min(loading, waited)
        self._lending.note_wait(self._model, waited - loading)
        self._loan = LentModel(
            self._model,
            loaded,
            queue_seconds=waited - loading,
            load_seconds=loading,
            began=self._began,
            scope=self._lending.scope_of(self._demand),
        )

    def _began(self) -> None:
        self._lending.began(self._demand)

    @property
    def served(self) -> tuple[str, str] | None:
        """The load key and the engine of what was lent, which may be another than was planned."""
        return (self._model.load_key, self._loan.engine) if self._loan else None

    @property
    def loan(self) -> LentModel:
        if self._loan is None:
            raise InternalError("there is no loan before the wait is over")
        return self._loan


class LentModel:
    """A loaded model for one request; see tasks.base.Loan."""

    def __init__(
        self,
        model: Model,
        loaded: Loaded,
        *,
        queue_seconds: float,
        load_seconds: float,
        began: Callable[[], None],
        scope: str,
    ) -> None:
        self.model = model
        self.engine = loaded.plan.engine
        self.features = loaded.worker.features
        self.num_ctx = loaded.worker.context_tokens
        self.queue_seconds = queue_seconds
        self.load_seconds = load_seconds
        self.version = loaded.worker.version
        self._worker = loaded.worker
        self._began = began
        self._scope = scope

    def generate(self, prompt: Prompt, sampling: Sampling) -> AsyncGenerator[Token | Finish, None]:
        scoped = msgspec.structs.replace(prompt, scope=self._scope)
        return self._worker.generate(scoped, sampling, self._began)

    async def embed(self, wanted: TextsToEmbed) -> Embedded:
        embedded = await self._worker.embed(wanted)
        self._began()
        return embedded

    async def tokenize(self, text: str, *, add_special: bool = True) -> list[int]:
        return await self._worker.tokenize(text, add_special=add_special)

    async def detokenize(self, tokens: Sequence[int]) -> str:
        return await self._worker.detokenize(tokens)

    def memory_bytes(self) -> int:
        """What the worker holds now."""
        return self._worker.memory_bytes()

    def cpu_seconds(self) -> float:
        """What the worker has computed until now."""
        return self._worker.cpu_seconds()
