"""A kill, a failing and a full disk at every file operation of what writes into the store.

Pull, create and bundle import run as the program does, in a store that Ollama made. Whatever fails,
each name means the model it meant or the new one, all models are whole, the user hears it in
words, and the next try ends as one without faults would have.
"""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from tests.conftest import environment
from tests.faults.faulty_disk import (
    Ended,
    Fault,
    FaultyProgram,
    Mode,
    Operation,
    build,
    compiler,
    faulty_program,
)
from tests.faults.registry_site import RegistrySite
from tests.faults.site import Site, site
from tests.faults.store_states import Place, State
from tests.unit.models.making import OllamaStore, tiny_adapter, tiny_gguf

LONG = os.environ.get("DIMORA_TEST_LONG") == "1"
# Runs of the program for one story, when there is little time.
RUNS = 40
LIBRARY = ("registry.ollama.ai", "library")
pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="the disk is made to fail as Linux can"),
    pytest.mark.timeout(3600 if LONG else 300),
]


def needed(program: str | None, name: str) -> str:
    if program is None:
        if os.environ.get("CI"):
            pytest.fail(f"{name} is needed in CI")
        pytest.skip(f"{name} is not installed: faults of the disk are not tried")
    return program


class Stage:
    """Where the stories play: a registry, files, bundles, and a store as it is before."""

    def __init__(self, directory: Path, here: Site, registry: RegistrySite) -> None:
        self.directory, self.here = directory, here
        self.place = Place(directory / "root")
        self.before = directory / "before"
        self.weights = self._weights("new.gguf", context_length=256)
        self._old = self._weights("old.gguf", context_length=128)
        registry.add_model(self.weights, system=b"Be kind.", params=b'{"num_ctx": 64}')
        self._make_store()
        self._make_sources()
        self.fingerprint = ""

    def environment(self, **more: str) -> dict[str, str]:
        place = self.place
        return environment(
            place.home, DIMORA_MODELS=str(place.models), DIMORA_REGISTRIES=self.here.key, **more
        )

    def reset(self) -> None:
        shutil.rmtree(self.place.root, ignore_errors=True)
        shutil.copytree(self.before, self.place.root)

    def _weights(self, name: str, **how: int) -> Path:
        path = tiny_gguf(self.directory / name, **how)  # type: ignore[arg-type]
        with path.open("ab") as file:
            # Several reads of the network, and the same bytes each time.
            file.write(bytes(range(256)) * 600)
        return path

    def _make_store(self) -> None:
        written = OllamaStore(self.before / "ollama")
        old = ("model", self._old.read_bytes())
        for parts in (
            (*LIBRARY, "old", "latest"),
            (*LIBRARY, "mine", "latest"),
            (self.here.key, "team", "tiny", "there"),
        ):
            written.model(parts, [old, ("system", f"I am {parts[2:]}".encode())])
        (self.before / "home").mkdir()

    def _make_sources(self) -> None:
        tiny_adapter(self.directory / "adapter.gguf")
        (self.directory / "notes.txt").write_text("Remember the milk.")
        (self.directory / "Fresh").write_text(
            "FROM ./new.gguf\nADAPTER ./adapter.gguf\nFILE ./notes.txt\n"
            'PARAMETER num_ctx 64\nTEMPLATE "{{ .Prompt }}"\nSYSTEM Be kind.\nLICENSE Free.\n'
        )
        (self.directory / "Derived").write_text("FROM old\nSYSTEM Be brief.\nMESSAGE user Hi\n")
        self._make_bundle("new.bundle", "first", "second")
        self._make_bundle("other.bundle", "mine", "second")

    def _make_bundle(self, file: str, *names: str) -> None:
        home = self.directory / "elsewhere" / file
        written = OllamaStore(home / "models")
        for name in names:
            layers = [("model", self.weights.read_bytes()), ("system", f"{name}!".encode())]
            written.model((*LIBRARY, name, "latest"), layers)
        self.dimora(home, "bundle", "export", *names, str(self.directory / file))
        self.keys = home / "keys"

    def dimora(self, home: Path, *argv: str) -> str:
        argv = (sys.executable, "-m", "dimora", *argv)
        ran = subprocess.run(
            argv, env=environment(home), check=True, capture_output=True, text=True
        )
        return ran.stdout

    def fingerprint_of(self, file: str) -> str:
        told = self.dimora(self.directory / "elsewhere" / file, "bundle", "key", "--json")
        return str(json.loads(told)["fingerprint"])


Story = Callable[[Stage], list[str]]


def pull(stage: Stage) -> list[str]:
    return ["pull", f"{stage.here.key}/team/tiny"]


def pull_over(stage: Stage) -> list[str]:
    return ["pull", f"{stage.here.key}/team/tiny:there"]


def create(stage: Stage) -> list[str]:
    return ["create", "fresh", "-f", str(stage.directory / "Fresh")]


def create_over(stage: Stage) -> list[str]:
    return ["create", "mine", "-f", str(stage.directory / "Derived")]


def bundle(stage: Stage) -> list[str]:
    trusted = ["--trust", stage.fingerprint_of("new.bundle"), "--remember"]
    return ["bundle", "import", str(stage.directory / "new.bundle"), *trusted]


def bundle_over(stage: Stage) -> list[str]:
    trusted = ["--trust", stage.fingerprint_of("other.bundle")]
    return ["bundle", "import", str(stage.directory / "other.bundle"), "--replace", *trusted]


STORIES = [pull, pull_over, create, create_over, bundle, bundle_over]


@pytest.fixture(scope="session")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    needed(compiler(), "a C compiler")
    return build(tmp_path_factory.mktemp("disk"))


@pytest.fixture(scope="module")
def stage() -> Iterator[Stage]:
    # In memory where that can be: what is waited for otherwise are the fsyncs of a real disk.
    memory = Path("/dev/shm")
    fast = memory if os.access(memory, os.W_OK) else None
    registry = RegistrySite()
    registry_site = site(registry)
    with tempfile.TemporaryDirectory(prefix="dimora-faults-", dir=fast) as directory:
        with registry_site as here:
            yield Stage(Path(directory), here, registry)


@pytest.fixture(scope="module")
def program(library: Path, stage: Stage) -> Iterator[FaultyProgram]:
    with faulty_program(library, stage.directory, stage.place.root) as running:
        yield running


class Play:
    """One story: how it goes without faults, and then with them."""

    def __init__(self, stage: Stage, program: FaultyProgram, story: Story) -> None:
        self.stage, self.program, self.place = stage, program, stage.place
        self.argv, self.environment = story(stage), stage.environment()
        stage.reset()
        self.old = self.place.state()
        first = program.learn(self.argv, self.environment)
        assert first.status == 0, first.said
        stage.reset()
        _, self.operations = program.operations(self.argv, self.environment)
        self.new = self.place.state()
        assert self.new != self.old
        self._retried: set[str] = set()

    def faults(self) -> list[Fault]:
        """Every operation with everything that can become of it."""
        found = []
        for each in self.operations:
            found += [Fault(Mode.ONCE, each.number, errno.EIO)]
            if each.kind == "looks":
                continue
            found += [Fault(Mode.KILL, each.number), Fault(Mode.ONWARDS, each.number, errno.EIO)]
            if each.kind == "takes":
                found += [Fault(Mode.ONWARDS, each.number, errno.ENOSPC)]
            if each.name == "write":
                found += [Fault(Mode.TEAR, each.number)]
        return found

    def suffer(self, fault: Fault) -> None:
        self.stage.reset()
        ended = self.program.run(self.argv, self.environment, fault)
        self.judge(fault, ended)
        self.retry(fault)

    def judge(self, fault: Fault, ended: Ended) -> None:
        what = f"{fault} at {self.operations[fault.at - 1] if fault.at else ''}: {ended}"
        now = self.place.state()
        judge_names(now, self.old, self.new, what)
        if ended.status == 0:
            assert now == self.new, what
        elif ended.status > 0:
            judge_words(ended, self.stage, what)
        if fault.mode in (Mode.KILL, Mode.TEAR):
            assert ended.status < 0, what
        assert self.place.faults() == [], what

    def retry(self, fault: Fault) -> None:
        """The same again, on a disk that works. What was found for a tree holds for all like it."""
        picture = self.place.picture()
        if picture in self._retried:
            return
        ended = self.program.run(self.argv, self.environment)
        what = f"after {fault} at {self.operations[fault.at - 1]}: {ended}"
        assert ended.status == 0, what
        assert self.place.state() == self.new, what
        assert self.place.faults() == [], what
        self.place.store().sweep(grace_seconds=0)
        assert self.place.orphans() == [], what
        assert self.place.state() == self.new, what
        self._retried.add(picture)


def judge_names(now: State, old: State, new: State, what: str) -> None:
    """Each name as it was or as it shall be, and no other name."""
    assert now.keys() <= old.keys() | new.keys(), what
    for name in old.keys() | new.keys():
        assert now.get(name) in (old.get(name), new.get(name)), f"{name} is a mixture: {what}"


def judge_words(ended: Ended, stage: Stage, what: str) -> None:
    """The program ends by its own will, and says so to a person."""
    assert ended.status == 1, what
    assert "Traceback" not in ended.said, what
    assert str(stage.directory) not in ended.said, what
    assert re.search(r"sha256-|\.dimora-part|tmp-\d", ended.said) is None, what
    lines = ended.said.splitlines()
    (error,) = [at for at, line in enumerate(lines) if line.startswith("Error: ")]
    assert lines[error + 1 :], f"nothing says what to do: {what}"


def some(faults: list[Fault], count: int) -> list[Fault]:
    """So many, evenly over all kinds and the whole run; all at night."""
    if LONG or len(faults) <= count:
        return faults
    return [faults[at * len(faults) // count] for at in range(count)]


@pytest.mark.parametrize("story", STORIES, ids=lambda story: story.__name__)
def test_what_fails_on_the_way_leaves_the_old_or_the_new(
    stage: Stage, program: FaultyProgram, story: Story
) -> None:
    play = Play(stage, program, story)
    changes = [f for f in play.faults() if play.operations[f.at - 1].kind != "looks"]
    looks = [f for f in play.faults() if play.operations[f.at - 1].kind == "looks"]
    for fault in [*some(changes, RUNS), *some(looks, RUNS // 4)]:
        play.suffer(fault)
