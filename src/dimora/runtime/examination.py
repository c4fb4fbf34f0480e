"""Looks at the whole house: what it has, what it lacks, what is wrong and what to do about it.

Every look is quick, changes nothing, and opens no connection; knocking at hosts is asked for.
"""

from __future__ import annotations

import asyncio
import os
import platform
import shutil
import stat
import sys
from collections.abc import AsyncGenerator, Callable, Iterator
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING

from dimora import __version__, engines
from dimora.core.errors import DimoraError
from dimora.core.processor import processor_name
from dimora.core.settings import Settings
from dimora.engines.base import Offer
from dimora.models.remote.access import access_of
from dimora.models.remote.way_out import hosts_to_knock_at, knock, way_out
from dimora.tasks.finding import Finding

if TYPE_CHECKING:
    from dimora.runtime.house import House

# A model of the catalogue that is no toy takes about so much.
_LITTLE_BYTES = 5 * 10**9
_OTHERS = stat.S_IRWXG | stat.S_IRWXO
_EXTRAS = {
    "convert": ("safetensors and adapters become GGUF", ("torch", "transformers")),
    "optimize": ("models become OpenVINO IR", ("nncf", "optimum-intel")),
    "onnx": ("folders of ONNX Runtime GenAI run", ("onnxruntime-genai",)),
}
_Look = Callable[["House"], Iterator[Finding]]


async def examine(house: House, *, reach: bool) -> AsyncGenerator[Finding, None]:
    """What is found, one thing after another; a look that fails is a finding too."""
    for look in _LOOKS:
        for finding in await asyncio.to_thread(_look, look, house):
            yield finding
    if reach:
        access = access_of(house.settings)
        knocks = [asyncio.ensure_future(knock(access, host)) for host in hosts_to_knock_at(access)]
        try:
            for one in knocks:
                yield await one
        finally:
            for one in knocks:
                one.cancel()


def _look(look: _Look, house: House) -> list[Finding]:
    try:
        return list(look(house))
    except DimoraError as why:
        what = look.__name__.strip("_").replace("_", " ")
        return [Finding(what=what, says=why.message, verdict="wrong", hint=why.hint)]


def _program(house: House) -> Iterator[Finding]:
    yield Finding(
        what="dimora",
        says=f"{__version__} on Python {platform.python_version()}, {platform.system()}",
    )


def _machine(house: House) -> Iterator[Finding]:
    free, usable = house.lending.memory()
    yield Finding(what="processor", says=processor_name())
    yield Finding(
        what="memory",
        says=f"{free / 1e9:.1f} GB free, models may take {usable / 1e9:.1f} GB",
        setting="memory_limit_bytes",
    )


def _home(house: House) -> Iterator[Finding]:
    # It is there, and the audit log in it can be written: nothing is examined unrecorded.
    home = house.settings.home
    found = Finding(what="home", says=str(home), setting="home")
    if not os.access(home, os.W_OK | os.X_OK):
        found = Finding(
            what="home",
            says=f"{home} cannot be written",
            verdict="wrong",
            hint="check its owner and rights",
            setting="home",
        )
    elif os.name != "nt" and home.stat().st_mode & _OTHERS:
        found = Finding(
            what="home",
            says=f"other people of this machine may look into {home}",
            verdict="note",
            hint=f"chmod 700 {home}",
            setting="home",
        )
    yield found
    yield Finding(what="audit log", says="can be written")


def _store(house: House) -> Iterator[Finding]:
    root = house.settings.models_path
    there = next(place for place in (root, *root.parents) if place.exists())
    writable = os.access(there, os.W_OK | os.X_OK)
    models = house.models.all()
    yield Finding(
        what="models",
        says=f"{len(models)} in {root}" + ("" if writable else ", which can only be read"),
        verdict="right" if writable else "note",
        hint="" if writable else "nothing can be pulled or made; another place: DIMORA_MODELS",
        setting="models",
    )
    free = shutil.disk_usage(there).free
    little = free < _LITTLE_BYTES
    yield Finding(
        what="room",
        says=f"{free / 1e9:.1f} GB free for models",
        verdict="note" if little else "right",
        hint="`dimora rm` and `dimora verify --repair` make room" if little else "",
    )


def _engines(house: House) -> Iterator[Finding]:
    settings = house.lending.engine_settings()
    for name, module in sorted(engines.SHELF.all().items()):
        yield _engine(name, module.offer(settings), house.settings)
    if settings.llama_server_refused:
        yield Finding(
            what="llama-server",
            says=settings.llama_server_refused,
            verdict="wrong" if house.settings.llama_server else "note",
            hint="`dimora toolchain install` builds one that fits",
            setting="llama_server",
        )


def _engine(name: str, offer: Offer, settings: Settings) -> Finding:
    pinned = settings.engine == name
    if offer.available:
        words = " ".join(word for word in (offer.version, offer.reason) if word)
        says = f"{words}; it runs every model, as the settings say" if pinned else words
        return Finding(what=f"engine {name}", says=says, setting="engine" if pinned else "")
    return Finding(
        what=f"engine {name}",
        says=offer.reason,
        verdict="wrong" if pinned else "note",
        hint="the setting engine names it: choose another" if pinned else "",
        setting="engine" if pinned else "",
    )


def _toolchain(house: House) -> Iterator[Finding]:
    state = house.models.toolchain()
    if state.state == "installed":
        yield Finding(what="toolchain", says=f"llama.cpp {state.commit} ({state.way})")
        return
    yield Finding(
        what="toolchain",
        says=f"{state.state}: GGUF models run slower, K-quants and conversions are not there",
        verdict="note",
        hint="dimora toolchain install",
    )


def _extras(house: House) -> Iterator[Finding]:
    for extra, (gain, packages) in _EXTRAS.items():
        missing = [package for package in packages if not _has(package)]
        yield Finding(
            what=f"extra {extra}",
            says=gain if not missing else f"not installed; with it {gain}",
            verdict="note" if missing else "right",
            hint=f"{sys.executable} -m pip install 'dimora[{extra}]'" if missing else "",
        )


def _has(package: str) -> bool:
    try:
        return bool(version(package))
    except PackageNotFoundError:
        return False


def _door(house: House) -> Iterator[Finding]:
    settings = house.settings
    address = f"{settings.host.host}:{settings.host.port}"
    keys = settings.api_keys
    if not keys and not settings.host.is_loopback:
        yield Finding(
            what="door",
            says=f"{address} is open to others and has no keys: the server will not start",
            verdict="wrong",
            hint="set DIMORA_API_KEYS=name:key, or serve on 127.0.0.1",
            setting="host",
        )
        return
    who = ", ".join(f"{key.user} ({', '.join(key.roles)})" for key in keys)
    says = f"{address}, for {who}" if keys else f"{address}, for this machine only, without keys"
    yield Finding(what="door", says=says, setting="api_keys" if keys else "host")


def _way_out(house: House) -> Iterator[Finding]:
    yield from way_out(access_of(house.settings))


_LOOKS: tuple[_Look, ...] = (
    _program,
    _machine,
    _home,
    _store,
    _engines,
    _toolchain,
    _extras,
    _door,
    _way_out,
)
