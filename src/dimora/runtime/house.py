"""The house: everything anyone asks goes through `House.run`.

It holds the rooms together, and nothing outside it: two houses may live in one process.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from dimora import engines, tasks
from dimora.core.errors import BadRequest, DimoraError, Forbidden, NotFound
from dimora.core.processor import processor_name
from dimora.core.settings import Settings
from dimora.core.types import (
    Done,
    Event,
    Principal,
    Progress,
    Queued,
    Request,
    Usage,
    kind_of,
)
from dimora.engines.base import ModelFiles
from dimora.governance import policy
from dimora.governance.acceptances import Acceptances
from dimora.governance.audit import Audit
from dimora.governance.identities import Identities
from dimora.ledger.ledger import Ledger
from dimora.models.converting.scoring import read_scoring_text
from dimora.models.names import full_name, is_file_name, path_of
from dimora.models.remote.access import access_of
from dimora.models.store import ModelStore
from dimora.runtime.bandwidth import bandwidth
from dimora.runtime.lending import Lending, LentReservation
from dimora.runtime.planning import Planner
from dimora.runtime.profiles import Profiles
from dimora.runtime.speeds import Speeds, expect, with_figures
from dimora.storage.disk import disk_errors
from dimora.tasks.acting import OfferedTool, SilentSource, ToolOutput
from dimora.tasks.advice import Acceptance, Advice, Forecast, Speed, Terms
from dimora.tasks.base import (
    ManifestFile,
    Model,
    ModelSummary,
    OpenBlob,
    Running,
    StoredBlob,
    ToolchainState,
)
from dimora.tasks.card import Card, Difference
from dimora.tasks.finding import Finding
from dimora.tasks.keeping import BundledModel, BundleKey, BundleTold, Fault, StoreTold
from dimora.tasks.options import Options
from dimora.tasks.profile import Benched, BenchWish, Profile
from dimora.tasks.recipe import Recipe
from dimora.tools.toolbox import Toolbox

if TYPE_CHECKING:
    from dimora.knowledge.room import KnowledgeRoom
    from dimora.runtime.knowing import KnowledgeFor

_log = logging.getLogger("dimora.runtime")


class House:
    """Made of settings; `start` before the first request, `close` after the last."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.models = ModelStore(
            settings.models_path,
            cache_path=settings.home / "cache",
            pins_path=settings.home / "templates.json",
            toolchain_path=settings.toolchain_path,
            keys_path=settings.home / "keys",
            trusted_keys=settings.trusted_keys,
            link_files=settings.link_files,
            ollama_version=settings.ollama_version,
            access=access_of(settings),
        )
        self.ledger = Ledger()
        self.audit = Audit(settings.audit_path)
        self.lending = Lending(settings, self.ledger, self._files_of)
        self.profiles = Profiles(settings.home)
        self.planner = Planner(settings, engines.SHELF, self.lending.engine_settings, self.profiles)
        self.acceptances = Acceptances(settings.acceptances_path, settings.accepted_licences)
        self.speeds = Speeds(settings.home / "cache")
        self.toolbox = Toolbox(settings.tools)
        self._identities = Identities(settings)
        self._knowledge_path = settings.home / "knowledge"
        self._knowledge: KnowledgeRoom | None = None

    def knowledge(self) -> KnowledgeRoom:
        """What all workspaces know."""
        if self._knowledge is None:
            # Only who asks for documents needs a database, and most do not.
            from dimora.knowledge.room import KnowledgeRoom

            self._knowledge = KnowledgeRoom(self._knowledge_path, embedder_name=_embedder_name)
        return self._knowledge

    async def start(self) -> None:
        """Raises DimoraError when the house could not keep its promises."""
        self.audit.check()

    def prepare(self) -> None:
        """Have ready, from now on, what takes long to start; for servers."""
        self.lending.keep_spare()
        # A llama-server that is not ours is started to ask it for its version, which may take long.
        asyncio.get_running_loop().run_in_executor(None, self.lending.engine_settings)

    async def tidy(self) -> None:
        """Remove files no model needs, such as a pull that was given up, and what is known of the
        documents of models that are gone; for servers, at start."""
        await self._forget_models()
        if self.settings.no_prune:
            return
        try:
            await asyncio.to_thread(self.models.sweep)
        except DimoraError as why:
            # Models on a share that may only be read are served all the same.
            _log.warning("old files were not removed: %s", why.message)

    async def _forget_models(self) -> None:
        if not self.models.blobs.directory.is_dir() or not any(self._knowledge_path.glob("*.db")):
            return
        # With a database, which a house without documents does not need.
        from dimora.runtime.knowing import forget_models

        try:
            await forget_models(self.knowledge(), self.models)
        except DimoraError as why:
            _log.warning("old documents were not removed: %s", why.message)

    async def close(self) -> None:
        """End all workers; safe to call twice."""
        await self.lending.close()
        if self._knowledge is not None:
            await self._knowledge.close()
        await asyncio.to_thread(self.speeds.save)
        self.acceptances.close()
        self.audit.close()

    def admit(self, credential: str | None, *, peer_is_loopback: bool) -> Principal:
        """Who is at the door. Raises NotAuthenticated."""
        return self._identities.admit(credential, peer_is_loopback=peer_is_loopback)

    def metrics(self) -> bytes:
        """All counts as Prometheus text."""
        return self.ledger.tell(self.lending.running())

    async def run(
        self,
        principal: Principal,
        request: Request,
        content: AsyncIterator[bytes] | None = None,
    ) -> AsyncIterator[Event]:
        """The one way in: check, run the task, record.

        `content` is what came beside the request's words, such as an upload.

        Yields Events and one Done, last. The record is written before Done leaves the house, and
        in any case when the answer ends, fails or is given up (aclose).

        Raises DimoraError.
        """
        visit = _Visit(self, principal, request)
        try:
            visit.begin()
            task = tasks.load(kind_of(request))
            policy.check(principal, task.RIGHT)
            if self.settings.strict and request.warnings:
                raise BadRequest(request.warnings[0], hint="the server is strict")
            rooms = RoomsFor(self, principal, content)
            visit.rooms = rooms
            stream = task.run(request, rooms)
            try:
                # Rooms say what failed in their own words; this is for what they did not foresee.
                with disk_errors("the home or the model store"):
                    async for event in stream:
                        visit.note(event)
                        yield event
            finally:
                await stream.aclose()
        except DimoraError as error:
            visit.end(error.code)
            raise
        except GeneratorExit:
            visit.end("cancelled")
            raise
        except BaseException as failure:
            # CancelledError is a caller who left; anything else is a defect of ours, and is
            # recorded before it is raised.
            visit.end("cancelled" if not isinstance(failure, Exception) else "internal_error")
            raise
        visit.end("done")

    def _files_of(self, model: Model) -> ModelFiles:
        files = self.models.verified_files(model)
        return ModelFiles(
            weights=files.weights,
            projector=files.projector,
            adapters=files.adapters,
            draft=files.draft,
            folder=files.folder,
        )


def _embedder_name(text: str) -> str:
    """The one name an embedding model has, however it was written."""
    return text if is_file_name(text) else full_name(text)


class _Visit:
    """What has to be recorded of one request; recorded once."""

    def __init__(self, house: House, principal: Principal, request: Request) -> None:
        self._house = house
        self._principal = principal
        self._request = request
        self._started = time.monotonic()
        self._first: float | None = None
        self._usage = Usage()
        self._begun = False
        self._recorded = False
        self.rooms: RoomsFor | None = None

    def begin(self) -> None:
        """Raises InternalError when it could not be recorded. Then it is not: refusals would take
        the room that is kept for what is under way."""
        self._house.audit.check()
        self._begun = True

    def note(self, event: Event) -> None:
        if isinstance(event, Done):
            self._usage = event.usage
            reserved = self.rooms.reserved if self.rooms else None
            if reserved and reserved.served:
                self._house.speeds.note(*reserved.served, event.usage)
            self.end("done")
        elif self._first is None and not isinstance(event, Queued):
            self._first = time.monotonic() - self._started

    def end(self, ended: str) -> None:
        if self._recorded:
            return
        self._recorded = True
        seconds = time.monotonic() - self._started
        # Only names of models that exist become labels: never a caller's words.
        model = self.rooms.found if self.rooms else ""
        self._house.ledger.note_request(
            kind_of(self._request),
            model,
            ended=ended,
            usage=self._usage,
            seconds=seconds,
            first_seconds=self._first,
        )
        if self._begun:
            self._house.audit.record(
                self._principal, self._request, ended=ended, usage=self._usage, seconds=seconds
            )


class RoomsFor:
    """The rooms as one principal's request may use them; see tasks.base.Rooms."""

    def __init__(
        self, house: House, principal: Principal, content: AsyncIterator[bytes] | None
    ) -> None:
        self.principal = principal
        self.content = content
        self.models = ModelsFor(house, self)
        self.default_embedder = house.settings.embedder
        self.tools = ToolsFor(house, principal)
        self.found = ""
        self.reserved: LentReservation | None = None
        self._house = house

    @cached_property
    def knowledge(self) -> KnowledgeFor:
        # With a database, which most requests do not need.
        from dimora.runtime.knowing import KnowledgeFor

        house = self._house
        return KnowledgeFor(house.knowledge(), house.models, self.principal)

    def reserve(
        self, model: Model, options: Options, *, keep_alive: float | None, batch: bool = False
    ) -> LentReservation:
        house = self._house
        plan = house.planner.plan(model, options)
        self.reserved = house.lending.reserve(
            model, plan, workspace=self.principal.workspace, keep_alive=keep_alive, batch=batch
        )
        return self.reserved

    def running(self) -> list[Running]:
        return self._house.lending.running()

    async def unload(self, model: Model) -> None:
        await self._house.lending.unload(model)

    def processor(self) -> str:
        return processor_name()

    def forecast(self, model: Model, options: Options, *, parallel: int = 0) -> Forecast:
        house = self._house
        plan = house.planner.plan(model, options, parallel=parallel)
        free, usable = house.lending.memory()
        return Forecast(
            engine=plan.engine,
            engine_reason=plan.reason,
            num_ctx=plan.options.num_ctx,
            parallel=plan.options.parallel,
            footprint=house.planner.footprint(model, plan.engine, plan.options),
            free_bytes=free,
            usable_bytes=usable,
        )

    async def speed(self, model: Model, forecast: Forecast) -> Speed:
        house = self._house
        found = await asyncio.to_thread(bandwidth, house.settings.home / "cache")
        seen = house.speeds.seen(model.load_key, forecast.engine)
        speed = expect(forecast.footprint, forecast.num_ctx, found, seen)
        profile = house.planner.profile(model)
        return with_figures(speed, profile, forecast.engine) if profile else speed

    def profile(self, model: Model) -> Profile | None:
        return self._house.planner.profile(model)

    async def forget_profile(self, model: Model) -> bool:
        return await asyncio.to_thread(self._house.profiles.forget, model.load_key)

    def bench(
        self, model: Model, wish: BenchWish
    ) -> AsyncGenerator[Progress | Queued | Benched, None]:
        # Only this needs what it imports, and most requests are not this.
        from dimora.runtime.benching import bench

        return bench(self._house, self.principal.workspace, model, wish)

    def refusals(self, model: Model) -> dict[str, str]:
        return self._house.planner.refusals(model)

    def examine(self, *, reach: bool) -> AsyncGenerator[Finding, None]:
        # Only this needs what it imports, and most requests are not this.
        from dimora.runtime.examination import examine

        return examine(self._house, reach=reach)


class ToolsFor:
    """The tools of the settings for one principal; see tasks.acting.Tools.

    Who comes to a server is not the person whose rights the tools have, whatever their role.
    """

    def __init__(self, house: House, principal: Principal) -> None:
        self._toolbox = house.toolbox
        self._principal = principal

    async def offered(self) -> tuple[list[OfferedTool], list[SilentSource]]:
        self._require_terminal()
        return await self._toolbox.offered()

    async def call(self, name: str, arguments: dict[str, Any]) -> ToolOutput:
        self._require_terminal()
        return await self._toolbox.call(name, arguments)

    def _require_terminal(self) -> None:
        if self._principal.proof != "terminal":
            raise Forbidden(
                "tools of the settings are for the person at the terminal",
                hint="`dimora agent` runs them there, also beside a server",
            )


class ModelsFor:
    """The keeper of models for one principal; see tasks.base.Models.

    Only the person at the terminal may name a file: a server opens no path a client names.
    """

    def __init__(self, house: House, rooms: RoomsFor) -> None:
        self._store = house.models
        self._acceptances = house.acceptances
        self._rooms = rooms

    def all(self) -> list[ModelSummary]:
        return self._store.all()

    def find(self, name: str) -> Model:
        if self._rooms.principal.proof == "terminal" and is_file_name(name):
            model = self._store.find_file(path_of(name))
        else:
            model = self._store.find(name)
        self._rooms.found = model.name
        return model

    def catalogue(self) -> list[Advice]:
        return [
            msgspec.structs.replace(one, accepted=one.accepted or self._covers(one.license))
            for one in self._store.advice()
        ]

    def terms_of(self, name: str) -> Terms | None:
        terms = self._store.terms_of(name)
        if terms is None or terms.accepted:
            return terms
        return msgspec.structs.replace(terms, accepted=self._covers(terms.license))

    def advised(self, name: str) -> Model | None:
        return self._store.advised(name)

    def acceptances(self, name: str) -> list[Acceptance]:
        return self._acceptances.of_model(full_name(name))

    def _covers(self, license_name: str) -> bool:
        return self._acceptances.covers(license_name)

    def _require_licence(self, name: str, *, accepts: bool) -> None:
        terms = self._store.terms_of(name)
        if terms is not None:
            principal = self._rooms.principal
            self._acceptances.require(principal, full_name(name), terms, accepts=accepts)

    async def pull(
        self, name: str, *, insecure: bool = False, accepts_licence: bool = False
    ) -> AsyncGenerator[Progress, None]:
        if is_file_name(name) and self._rooms.principal.proof != "terminal":
            raise NotFound("pull model manifest: file does not exist", code="model_not_found")
        await asyncio.to_thread(self._require_licence, name, accepts=accepts_licence)
        steps = self._store.pull(name, insecure=insecure)
        async with aclosing(steps):
            async for progress in steps:
                yield progress

    async def push(self, name: str, *, insecure: bool = False) -> AsyncGenerator[Progress, None]:
        async with aclosing(self._store.push(name, insecure=insecure)) as steps:
            async for progress in steps:
                yield progress

    def copy(self, source: str, destination: str) -> None:
        self._store.copy(source, destination)

    def delete(self, name: str) -> None:
        self._store.delete(name)

    async def create(
        self, name: str, recipe: Recipe, warnings: list[str]
    ) -> AsyncGenerator[Progress, None]:
        for wanted in (recipe.source, recipe.draft):
            # What is not here is pulled on the way.
            if wanted and self._store.locate(wanted) is None:
                await asyncio.to_thread(self._require_licence, wanted, accepts=False)
        steps = self._store.create(name, recipe, warnings)
        async with aclosing(steps):
            async for progress in steps:
                yield progress

    async def install_toolchain(self, jobs: int) -> AsyncGenerator[Progress, None]:
        async with aclosing(self._store.install_toolchain(jobs)) as steps:
            async for progress in steps:
                yield progress

    async def optimize(
        self, name: str, source: str, bits: int, group: int, warnings: list[str]
    ) -> AsyncGenerator[Progress, None]:
        async with aclosing(self._store.optimize(name, source, bits, group, warnings)) as steps:
            async for progress in steps:
                yield progress

    async def scoring_text(self) -> str:
        return await asyncio.to_thread(read_scoring_text)

    async def difference(self, before: Model, after: Model, text: str) -> Difference:
        return await self._store.difference(before, after, text)

    async def keep_card(self, name: str, card: Card) -> None:
        await asyncio.to_thread(self._store.keep_card, name, card)

    def tags(self, repository: str) -> list[str]:
        return self._store.sharing().tags(repository)

    def read_manifest(self, repository: str, reference: str) -> ManifestFile:
        found = self._store.sharing().manifest(repository, reference)
        self._rooms.found = found.name
        return found

    def open_blob(self, repository: str, digest: str) -> OpenBlob:
        return self._store.sharing().blob(repository, digest)

    def toolchain(self) -> ToolchainState:
        return self._store.toolchain()

    def remove_toolchain(self) -> bool:
        return self._store.remove_toolchain()

    def find_blob(self, digest: str) -> int | None:
        return self._store.find_blob(digest)

    async def store_blob(
        self, digest: str, content: AsyncIterator[bytes], size_bytes: int | None
    ) -> StoredBlob:
        return await self._store.store_blob(digest, content, size_bytes)

    async def export_bundle(
        self, names: Sequence[str], path: str, *, replace: bool
    ) -> AsyncGenerator[Progress, None]:
        steps = self._store.export_bundle(names, self._own_path(path), replace=replace)
        async with aclosing(steps):
            async for progress in steps:
                yield progress

    async def import_bundle(
        self, path: str, *, replace: bool, trust: str, remember: bool
    ) -> AsyncGenerator[Progress | BundledModel, None]:
        steps = self._store.import_bundle(
            self._own_path(path), replace=replace, trust=trust, remember=remember
        )
        async with aclosing(steps):
            async for step in steps:
                yield step

    def tell_bundle(self, path: str) -> BundleTold:
        return self._store.tell_bundle(self._own_path(path))

    def bundle_key(self) -> BundleKey:
        return self._store.bundle_key()

    async def verify(
        self, names: Sequence[str], *, repair: bool
    ) -> AsyncGenerator[Progress | Fault | StoreTold, None]:
        async with aclosing(self._store.verify(names, repair=repair)) as steps:
            async for step in steps:
                yield step

    def _own_path(self, path: str) -> Path:
        if self._rooms.principal.proof != "terminal":
            raise Forbidden("only the terminal may name a file of this machine")
        return Path(path)

    async def take_file(self, path: str) -> AsyncGenerator[Progress | StoredBlob, None]:
        async with aclosing(self._store.take_file(self._own_path(path))) as steps:
            async for step in steps:
                yield step
