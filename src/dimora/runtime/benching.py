"""Times the engines that can run a model, one after the other, each in a worker of its own.

The workers are the house's: they wait for memory like any other, and run beside what is loaded,
which is never pushed out unless somebody insists.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from typing import TYPE_CHECKING

import msgspec
import psutil

from dimora.core.errors import Conflict, DimoraError, UnsupportedFeature
from dimora.core.processor import processor_name
from dimora.core.types import Progress, Queued
from dimora.models.converting.scoring import read_scoring_text
from dimora.runtime.engine_choice import Choice, Rank, eligible
from dimora.runtime.seats import Plan
from dimora.runtime.speeds import Seen
from dimora.runtime.trial import QUICK, Effort, Trial
from dimora.tasks.base import Model
from dimora.tasks.options import Options
from dimora.tasks.profile import Benched, BenchWish, EngineTold, Figures, Profile, typical_seconds

if TYPE_CHECKING:
    from dimora.runtime.house import House
    from dimora.runtime.lending import LentModel

# With more answers at once than this nothing new is learnt.
_MOST_STREAMS = 8
# With this much of the processor in other hands nothing is timed well.
_FOREIGN_SHARE = 0.2
_INSIST = "--force measures all the same"


async def bench(
    house: House, workspace: str, model: Model, wish: BenchWish
) -> AsyncGenerator[Progress | Queued | Benched, None]:
    """What is being timed, and one Benched, last. An engine that fails is told there.

    Raises UnsupportedFeature when no engine can be measured, Conflict when it would disturb or be
    disturbed, and what storing the figures fails with, after Benched was given.
    """
    ranks = house.planner.ranks(model)
    plans, refused = _plans(house, model, wish.engines, ranks)
    if not wish.force:
        _require_quiet(house, plans)
    await asyncio.to_thread(house.models.verified_files, model)
    timing = _Timing(house, workspace, model, wish)
    for plan in plans.values():
        async with aclosing(timing.time(plan)) as steps:
            async for step in steps:
                yield step
    profile = house.planner.new_profile(model, tuple(timing.figures), inexact=wish.inexact)
    benched = _weigh(house, model, wish, profile, ranks)
    benched = msgspec.structs.replace(benched, failed=timing.failed, refused=refused)
    if wish.apply and not benched.not_applied:
        try:
            await asyncio.to_thread(house.profiles.keep, model.load_key, profile)
        except (OSError, DimoraError):
            # What took a minute is told all the same.
            yield msgspec.structs.replace(benched, not_applied="it could not be stored")
            raise
        benched = msgspec.structs.replace(benched, applied=True)
    yield benched


class _Timing:
    """One measurement on its way: the figures of engines, and why others have none."""

    def __init__(self, house: House, workspace: str, model: Model, wish: BenchWish) -> None:
        self.figures: list[Figures] = []
        self.failed: dict[str, str] = {}
        self._house = house
        self._workspace = workspace
        self._model = model
        self._wish = wish
        self._text = read_scoring_text()

    async def time(self, plan: Plan) -> AsyncGenerator[Progress | Queued, None]:
        """Time one engine; its worker is gone when this ends."""
        seat = f"{self._model.load_key} timed with {plan.engine}"
        try:
            async with aclosing(self._try(plan, seat)) as steps:
                async for step in steps:
                    yield step
        except DimoraError as why:
            self.failed[plan.engine] = why.text
        # The next is to find the machine as this one did.
        await self._house.lending.emptied(seat)

    async def _try(self, plan: Plan, seat: str) -> AsyncGenerator[Progress | Queued, None]:
        lending = self._house.lending
        yield Progress(status=f"{plan.engine}: loading")
        if not self._wish.force:
            _require_room(self._house, plan)
        async with lending.reserve(
            self._model, plan, workspace=self._workspace, keep_alive=0, batch=False, seat=seat
        ) as reservation:
            async for place in reservation.wait():
                yield place
            arrived, others = lending.arrived, lending.requests() - 1
            company = _Company(reservation.loan)
            trial = Trial(
                reservation.loan,
                QUICK if self._wish.quick else Effort(),
                self._text,
                streams=min(plan.options.parallel, _MOST_STREAMS),
                embeds=self._model.can("embedding"),
            )
            for words, step in trial.steps():
                yield Progress(status=f"{plan.engine}: {words}")
                await step()
            figures = trial.figures()
            if (share := company.foreign_share()) > _FOREIGN_SHARE:
                note = f"other programs had {share:.0%} of the processor meanwhile"
                figures = _disturbed(figures, note)
            if others or lending.arrived != arrived:
                figures = _disturbed(figures, "other requests were answered meanwhile")
        self.figures.append(figures)
        speeds, key = self._house.speeds, self._model.load_key
        before = speeds.seen(key, plan.engine)
        seen = Seen(written=figures.written_rate or before.written, read=figures.read_rate)
        speeds.put(key, plan.engine, seen)


def _plans(
    house: House, model: Model, names: tuple[str, ...], ranks: Mapping[str, Rank]
) -> tuple[dict[str, Plan], dict[str, str]]:
    """How each engine that is to be measured would be loaded, the best rank first; and why others
    cannot be. Raises UnsupportedFeature for a name that is no engine, or when none is left."""
    unknown = [name for name in names if name not in ranks]
    if unknown:
        raise UnsupportedFeature(
            f"there is no engine {unknown[0][:40]!r}", hint=f"there are {', '.join(sorted(ranks))}"
        )
    # Who names an engine wants to see it; those that run only when pinned are left alone otherwise.
    wanted = [one for one in ranks.values() if one.engine in names or not names]
    wanted = [one for one in wanted if names or one.rank > 0]
    refused = {one.engine: one.why_not for one in wanted if one.why_not}
    able = [one for one in wanted if not one.why_not]
    if not able:
        told = "; ".join(f"{name}: {why}" for name, why in refused.items())
        raise UnsupportedFeature(
            f"no engine can be measured with this model ({told})", code="engine_refuses"
        )
    plans = {}
    for one in sorted(able, reverse=True):
        options = Options(engine=one.engine).over(model.options)
        plans[one.engine] = house.planner.plan(model, options)
    return plans, refused


def _require_quiet(house: House, plans: Mapping[str, Plan]) -> None:
    """Raises Conflict when somebody is being answered, or a model would have to leave memory."""
    if count := house.lending.requests():
        raise Conflict(
            f"{count} request{'s are' if count > 1 else ' is'} being answered, which would blur"
            " what is measured",
            hint=f"try again when it is quiet; {_INSIST}",
        )
    _require_room(house, max(plans.values(), key=lambda plan: plan.estimate_bytes))


def _require_room(house: House, plan: Plan) -> None:
    names = house.lending.crowded_by(plan.estimate_bytes)
    if names:
        raise Conflict(
            f"there is no room to measure beside what is in memory: {', '.join(names)}",
            hint=f"`dimora stop {names[0]}` lets go of it; {_INSIST}, and lets them leave memory",
        )


class _Company:
    """Who else uses the processor from now on."""

    def __init__(self, loan: LentModel) -> None:
        self._loan = loan
        self._started = self._look()

    def _look(self) -> tuple[float, float, float]:
        """Seconds: of the clock, of all processors at work, of the worker and this process."""
        times = psutil.cpu_times()
        idle = times.idle + getattr(times, "iowait", 0.0)
        # Those of guests are counted among the users' already.
        guests = getattr(times, "guest", 0.0) + getattr(times, "guest_nice", 0.0)
        own = sum(os.times()[:2])
        return time.monotonic(), sum(times) - idle - guests, self._loan.cpu_seconds() + own

    def foreign_share(self) -> float:
        """The part of all processors that others had."""
        passed, working, ours = (
            now - then for now, then in zip(self._look(), self._started, strict=True)
        )
        return max(0.0, (working - ours) / max(passed, 1e-6) / (os.cpu_count() or 1))


def _disturbed(figures: Figures, note: str) -> Figures:
    return msgspec.structs.replace(figures, disturbed=True, notes=(*figures.notes, note))


def _weigh(
    house: House,
    model: Model,
    wish: BenchWish,
    profile: Profile,
    ranks: Mapping[str, Rank],
) -> Benched:
    """What the figures would change."""
    figures = profile.figures
    runs, pinned = _choice(house, model)
    chosen = eligible(profile, ranks)
    would = None
    if chosen and not pinned:
        choice, _ = house.planner.choose(model, model.options, measured=profile)
        would = EngineTold(choice.engine, choice.reason)
    disturbed = any(one.disturbed for one in figures)
    not_applied = ""
    if wish.apply and not chosen:
        not_applied = "no engine that may be chosen has figures"
    elif wish.apply and disturbed and not wish.force:
        not_applied = "the machine had other work meanwhile; try again when it is quiet, or --force"
    return Benched(
        name=model.name,
        machine=processor_name(),
        measured_at=profile.measured_at,
        figures=figures,
        typical_seconds={one.engine: round(typical_seconds(one), 3) for one in figures},
        eligible=tuple(one.engine for one in chosen),
        inexact={
            one.engine: ranks[one.engine].reason
            for one in figures
            if ranks[one.engine].rank > 0 and not ranks[one.engine].is_faithful
        },
        runs=EngineTold(runs.engine, runs.reason) if runs else None,
        would=would,
        pinned=pinned,
        in_memory=any(one.summary.name == model.name for one in house.lending.running()),
        not_applied=not_applied,
    )


def _choice(house: House, model: Model) -> tuple[Choice | None, bool]:
    """The engine of now, None when the one that is pinned refuses the model."""
    try:
        return house.planner.choose(model, model.options)
    except UnsupportedFeature:
        return None, True
