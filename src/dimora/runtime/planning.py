"""How a model would be loaded for a request: engine, window, how many answers at a time."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from dimora.core.settings import Settings
from dimora.core.shelf import Shelf
from dimora.engines.base import EngineSettings
from dimora.runtime.engine_choice import Choice, Rank, choose_engine, ranks_of, refusals
from dimora.runtime.profiles import Profiles, new_profile, why_stale
from dimora.runtime.seats import Plan
from dimora.tasks.advice import Footprint
from dimora.tasks.base import Model
from dimora.tasks.options import DEFAULTS, LOAD_FIELDS, LoadOptions, Options
from dimora.tasks.profile import Figures, Profile

_DEFAULT_CONTEXT = 4096
_DEFAULT_PARALLEL = 4
_SMALLEST_CONTEXT = 4
# Different ways of loading whose memory is remembered.
_FOOTPRINTS = 256


class Planner:
    """Plans of one house. Remembers which engine it chose for a model, since asking every engine
    takes milliseconds, for as long as `engine_settings` gives the same llama-server and the
    measurement of the model is the same."""

    def __init__(
        self,
        settings: Settings,
        engines: Shelf,
        engine_settings: Callable[[], EngineSettings],
        profiles: Profiles,
    ) -> None:
        self._settings = settings
        self._engines = engines
        self._engine_settings = engine_settings
        self._profiles = profiles
        self._choices: dict[tuple[object, ...], Choice] = {}
        self._footprints: dict[tuple[str, str, LoadOptions], Footprint] = {}

    def plan(self, model: Model, options: Options, *, parallel: int = 0) -> Plan:
        """`parallel` 0 is for as many answers at a time as the settings say.

        Raises UnsupportedFeature when no engine, or not the pinned one, can load the model.
        """
        choice, _ = self.choose(model, options)
        load = _load_options(model, options, self._settings, parallel)
        insisted = frozenset(name for name in LOAD_FIELDS if getattr(options, name) is not None)
        return Plan(
            engine=choice.engine,
            reason=choice.reason,
            options=load,
            insisted=insisted,
            estimate_bytes=self.footprint(model, choice.engine, load).needed_bytes,
        )

    def footprint(self, model: Model, engine: str, options: LoadOptions) -> Footprint:
        """The memory the model takes with this engine and these options."""
        key = (model.load_key, engine, options)
        if key not in self._footprints:
            if len(self._footprints) >= _FOOTPRINTS:
                self._footprints.clear()
            self._footprints[key] = self._engines.load(engine).footprint(model, options)
        return self._footprints[key]

    def refusals(self, model: Model) -> dict[str, str]:
        """Why each engine that cannot load this model cannot, by name."""
        return refusals(self._engines, model, self._engine_settings())

    def profile(self, model: Model) -> Profile | None:
        """What was measured of the model to decide, with why it does no longer, if so."""
        return self._checked(model, self._profiles.of(model.load_key), self._engine_settings())

    def choose(
        self, model: Model, options: Options, *, measured: Profile | None = None
    ) -> tuple[Choice, bool]:
        """The engine for these options, and whether it was pinned.

        `measured` stands in for the measurement that decides now, if one does.
        Raises UnsupportedFeature when no engine, or not the pinned one, can load the model.
        """
        pinned, pinned_by = self._pinned(model, options)
        now = self._engine_settings()
        profile = measured or self._profiles.of(model.load_key)
        when = profile.measured_at if profile else 0.0
        server = (now.llama_server_path, now.llama_server_build, now.llama_server_refused)
        key = (model.load_key, pinned, pinned_by, when, *server)
        if key not in self._choices:
            self._choices[key] = choose_engine(
                self._engines,
                model,
                now,
                pinned=pinned,
                pinned_by=pinned_by,
                profile=self._checked(model, profile, now),
            )
        return self._choices[key], bool(pinned)

    def ranks(self, model: Model) -> dict[str, Rank]:
        """What each engine says of the model, by name."""
        return ranks_of(self._engines, model, self._engine_settings())

    def new_profile(self, model: Model, figures: tuple[Figures, ...], *, inexact: bool) -> Profile:
        """Of here and now."""
        now = self._engine_settings()
        return new_profile(self._engines, model, now, figures, inexact=inexact)

    def _checked(self, model: Model, stored: Profile | None, now: EngineSettings) -> Profile | None:
        if stored is None:
            return None
        return msgspec.structs.replace(stored, stale=why_stale(stored, self._engines, model, now))

    def _pinned(self, model: Model, options: Options) -> tuple[str, str]:
        """The engine that is pinned, empty for none, and by whom."""
        if options.engine:
            own = model.options.engine == options.engine
            return options.engine, "the model" if own else "the request"
        return self._settings.engine, "the settings"


def _load_options(model: Model, options: Options, settings: Settings, parallel: int) -> LoadOptions:
    full = options.over(DEFAULTS)
    return LoadOptions(
        num_ctx=_window(model, options.num_ctx or settings.context_length or _DEFAULT_CONTEXT),
        parallel=parallel or settings.num_parallel or _DEFAULT_PARALLEL,
        num_batch=full.num_batch or 128,
        num_gpu=-1 if full.num_gpu is None else full.num_gpu,
        main_gpu=full.main_gpu,
        use_mmap=full.use_mmap,
        num_thread=full.num_thread or 0,
        draft_num_predict=full.draft_num_predict or 0,
        memory_limit_bytes=settings.memory_limit_bytes,
    )


def _window(model: Model, wanted: int) -> int:
    """What was asked for, as far as the model was trained for it."""
    trained = model.trained_context or wanted
    return max(_SMALLEST_CONTEXT, min(wanted, trained))
