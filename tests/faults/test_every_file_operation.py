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
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.conftest import LONG, environment
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
from tests.unit.models.making import OllamaStore, digest_of, tiny_adapter, tiny_gguf

# How many of its faults are tried of one story where there is little time, and of those of reads.
SOME, SOME_LOOKS = 40, 10
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
        for tag in ("latest", "there"):
            more = {"system": b"Be kind.", "params": b'{"num_ctx": 64}'}
            registry.add_model(self.weights, tag=tag, **more)
        self._make_store()
        self._make_sources()
        self.large = self.directory / "large.gguf"
        self.large.write_bytes(self.weights.read_bytes() + bytes(4 << 20))
        self.made = self.large.stat().st_mtime_ns

    def environment(self, **more: str) -> dict[str, str]:
        place = self.place
        return environment(
            place.home, DIMORA_MODELS=str(place.models), DIMORA_REGISTRIES=self.here.key, **more
        )

    def reset(self) -> None:
        # What is linked with the store loses the right to be written.
        self.large.chmod(0o644)
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
        tiny_gguf(self.directory / "precise.gguf", precise=True, file_type=1)
        (self.directory / "Precise").write_text("FROM ./precise.gguf\nSYSTEM Be kind.\n")
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


def create_linked(stage: Stage) -> list[str]:
    """Where the disk cannot share blocks, the file itself becomes the blob."""
    (stage.directory / "Large").write_text("FROM ./large.gguf\n")
    return ["create", "mine", "-f", str(stage.directory / "Large")]


def quantize(stage: Stage) -> list[str]:
    """Here another process writes as well."""
    return ["create", "mine", "-f", str(stage.directory / "Precise"), "-q", "Q8_0"]


def bundle(stage: Stage) -> list[str]:
    trusted = ["--trust", stage.fingerprint_of("new.bundle"), "--remember"]
    return ["bundle", "import", str(stage.directory / "new.bundle"), *trusted]


def bundle_over(stage: Stage) -> list[str]:
    trusted = ["--trust", stage.fingerprint_of("other.bundle")]
    return ["bundle", "import", str(stage.directory / "other.bundle"), "--replace", *trusted]


STORIES = [pull, pull_over, create, create_over, bundle, bundle_over]
# The last takes a second each time.
STORIES += [create_linked, quantize] if LONG else []


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
    with (
        tempfile.TemporaryDirectory(prefix="dimora-faults-", dir=fast) as directory,
        site(registry) as here,
    ):
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

    @property
    def blobs(self) -> str:
        return f"{self.place.models}/blobs"

    @property
    def manifests(self) -> str:
        return f"{self.place.models}/manifests"

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

    def faults_of_names(self) -> list[Fault]:
        """A kill at everything that changes a manifest."""
        found = []
        named = [each for each in self.operations if self.manifests in each.path + each.other]
        for number, each in enumerate(named, 1):
            if each.kind != "looks":
                found += [Fault(Mode.KILL, number, part=self.manifests)]
            if each.name == "write":
                found += [Fault(Mode.TEAR, number, part=self.manifests)]
        return found

    def suffer(self, fault: Fault) -> None:
        ended = self.run(fault)
        what = f"{fault}: {ended}"
        self.judge(ended, what)
        # The network decides in how many pieces bytes come, so the numbers of operations vary.
        if ended.hit is None:
            assert ended.status == 0, what
        elif fault.mode in (Mode.KILL, Mode.TEAR):
            assert ended.status == -signal.SIGKILL, what
        elif fault.error == errno.EIO and self.is_needed(ended.hit):
            assert ended.status == 1, f"a fault was passed over: {what}"
        if fault.mode == Mode.ONCE and ended.hit is not None and ended.hit.name != "unlink":
            assert self.place.unfinished() == [], what
        self.retry(what)

    def run(self, fault: Fault) -> Ended:
        self.stage.reset()
        return self.program.run(self.argv, self.environment, fault)

    def is_needed(self, operation: Operation) -> bool:
        """Whether the model cannot be right when the disk did not do this."""
        made = operation.name in ("write", "fsync", "close", "rename", "mkdir")
        in_store = operation.path.startswith(str(self.place.models))
        # What tells how far a download is may be lost.
        aside = re.search(r"\.lock\b|-parts", operation.path)
        return made and in_store and operation.kind == "takes" and not aside

    def judge(self, ended: Ended, what: str) -> None:
        """Whatever happened, the store is as it was or as it shall be, and the user knows."""
        now = self.place.state()
        judge_names(now, self.old, self.new, what)
        if ended.status == 0:
            assert now == self.new, what
        elif ended.status > 0:
            judge_words(ended, self.stage, what)
        assert self.place.faults() == [], what
        assert self.stage.large.stat().st_mtime_ns == self.stage.made, "a file of the user"

    def retry(self, what: str) -> None:
        """The same again, on a disk that works. What was found for a tree holds for all like it."""
        picture = self.place.picture()
        if picture in self._retried:
            return
        ended = self.program.run(self.argv, self.environment)
        what = f"after {what}: {ended}"
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


@pytest.fixture(scope="module", params=STORIES, ids=lambda story: story.__name__)
def play(request: pytest.FixtureRequest, stage: Stage, program: FaultyProgram) -> Play:
    return Play(stage, program, request.param)


def test_what_fails_on_the_way_leaves_the_old_or_the_new(play: Play) -> None:
    faults = play.faults()
    looks = [fault for fault in faults if play.operations[fault.at - 1].kind == "looks"]
    changes = [fault for fault in faults if play.operations[fault.at - 1].kind != "looks"]
    # Before that a pull looks for every name of the catalogue, one like the other.
    begun = min(each.number for each in play.operations if each.path.startswith(play.blobs))
    looks = [fault for fault in looks if LONG or fault.at >= begun]
    for fault in [*play.faults_of_names(), *some(changes, SOME), *some(looks, SOME_LOOKS)]:
        play.suffer(fault)


def test_what_a_name_needs_is_on_the_disk_before_the_name(play: Play) -> None:
    """A power cut keeps what was settled, in any order: so nothing is named before it is."""
    named = [each for each in play.operations if is_naming(each, play)]
    blobs = [each for each in named if each.other.startswith(play.blobs)]
    manifests = [each for each in named if each.other.startswith(play.manifests)]
    assert manifests
    for each in named:
        last_write = max(o.number for o in play.operations if writes(o, each.path))
        assert last_write < settled(play, each.path, last_write) < each.number, each
    settled_blobs = [settled(play, play.blobs, each.number) for each in blobs]
    settled_names = [settled(play, os.path.dirname(each.other), each.number) for each in manifests]
    assert max(settled_blobs, default=0) < min(each.number for each in manifests)
    for each in play.operations:
        if each.name == "mkdir" and each.path.startswith(f"{play.place.models}/"):
            assert settled(play, os.path.dirname(each.path), each.number) < max(settled_names)
        if each.name == "unlink" and re.search(r"/sha256-[0-9a-f]{64}$", each.path):
            assert each.number > max(settled_names), "the old goes when the new is there"


def is_naming(operation: Operation, play: Play) -> bool:
    return operation.name == "rename" and bool(
        re.match(rf"{play.blobs}/sha256-[0-9a-f]{{64}}$", operation.other)
        or operation.other.startswith(play.manifests)
    )


def writes(operation: Operation, path: str) -> bool:
    return operation.path == path and operation.name in ("write", "open64", "ftruncate64", "ioctl")


def settled(play: Play, path: str, after: int) -> int:
    """The number of the operation that settles a file or directory, once it was changed."""
    found = [
        o.number
        for o in play.operations
        if o.name == "fsync" and o.path == path and o.number > after
    ]
    assert found, f"{path} is never settled"
    return found[0]


def test_a_manifest_that_a_kill_left_half_written_is_swept(play: Play) -> None:
    place = play.place
    begun = [
        o for o in play.operations if o.name == "rename" and o.other.startswith(play.manifests)
    ]
    for number in range(1, len(begun) + 1):
        ended = play.run(Fault(Mode.KILL, number, name="rename", part="/manifests/"))
        hidden = list((place.models / "manifests").glob("*/*/*/.*"))
        assert [path.read_bytes() in play.new.values() for path in hidden] == [True]
        judge_names(place.state(), play.old, play.new, str(ended))
        before = place.state()
        assert place.store().sweep(grace_seconds=3600) == 0, "it might be on its way"
        assert hidden[0].exists()
        assert place.store().sweep(grace_seconds=0) > 0
        assert place.orphans() == []
        assert place.state() == before
        assert place.faults() == []


def test_what_a_disk_could_not_settle_is_fetched_again(
    stage: Stage, program: FaultyProgram
) -> None:
    """The system forgets the pages it failed to write, and says so only once (fsync(2))."""
    play = Play(stage, program, pull)
    digest = digest_of(stage.weights.read_bytes())
    partial = play.place.store().blobs.partial_path(digest)
    ended = play.run(Fault(Mode.ONCE, 1, errno.EIO, name="fsync", part=str(partial)))
    assert ended.status == 1
    assert "the disk of the model store failed" in ended.said
    assert not partial.exists()
    before = len(stage.here.asked)
    assert program.run(play.argv, play.environment).status == 0
    asked = [each for each in stage.here.asked[before:] if each.path.endswith(digest)]
    assert [each.headers["range"] for each in asked] == [
        f"bytes=0-{stage.weights.stat().st_size - 1}"
    ]


@pytest.fixture(scope="session")
def strace() -> str:
    return needed(shutil.which("strace"), "strace")


CALLS = ("openat", "write", "fsync", "rename", "mkdir", "unlink", "flock", "utimensat")


def traced(strace: str, play: Play, *options: str) -> Ended:
    """The program as a person starts it, under strace."""
    play.stage.reset()
    argv = [strace, "-f", "-qq", "--seccomp-bpf", *options, sys.executable, "-m", "dimora"]
    ran = subprocess.run(
        [*argv, *play.argv],
        env=play.environment,
        cwd=play.stage.directory,
        capture_output=True,
        text=True,
        timeout=120,
    )
    return Ended(ran.returncode, ran.stdout + ran.stderr)


def test_no_operation_that_the_kernel_sees_is_left_out(play: Play, strace: str) -> None:
    trace = play.stage.directory / "trace"
    preloaded = [f"-E{name}={value}" for name, value in play.program.preloaded.items()]
    play.program.set(Fault(Mode.NOTE))
    watched = ["-y", "-s", "0", "-e", f"trace={','.join(CALLS)}", "-o", str(trace)]
    assert traced(strace, play, *watched, *preloaded).status == 0
    ours: Counter[str] = Counter()
    for each in play.program.noted():
        name = {"open64": "openat"}.get(each.name, each.name)
        ours[name] += each.name in CALLS or each.kind != "looks"
    root = re.escape(str(play.place.root))
    kernel: Counter[str] = Counter()
    for line in trace.read_text().splitlines():
        call = re.match(rf"\d+ +(\w+)\(.*{root}", line)
        if call and (call[1] != "openat" or re.search("O_WRONLY|O_RDWR|O_CREAT", line)):
            kernel[call[1]] += 1
    assert {name: ours[name] for name in CALLS} == {name: kernel[name] for name in CALLS}
    assert kernel["write"] > 3
    assert kernel["rename"] > 3


@pytest.mark.parametrize("call", ["fsync", "rename", "mkdir", "unlink", "flock"])
def test_the_whole_program_under_strace_leaves_the_old_or_the_new(
    stage: Stage, program: FaultyProgram, strace: str, call: str
) -> None:
    """The same from outside: these calls go to the store alone."""
    for story in STORIES if LONG else [pull_over]:
        play = Play(stage, program, story)
        most = sum(each.name == call for each in play.operations)
        for number in range(1, most + 1) if LONG else [min(2, most)]:
            for what in ("error=EIO", "error=ENOSPC", "signal=KILL") if LONG else ["signal=KILL"]:
                inject = f"inject={call}:{what}:when={number}"
                ended = traced(strace, play, "-e", f"trace={call}", "-e", inject, "-o", os.devnull)
                play.judge(ended, f"{inject}: {ended}")
                play.retry(inject)
