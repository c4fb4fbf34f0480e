"""A worker process at the other end of a socket pair, for tests that need no server."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import sys
from collections import defaultdict, deque
from collections.abc import Iterator
from pathlib import Path

from dimora.core.frames import FrameReader, pack
from dimora.engines.base import EngineSettings, ModelFiles
from dimora.runtime import messages
from dimora.tasks.base import Finish, Model, TextsToEmbed, Token
from dimora.tasks.options import LoadOptions, Sampling


class WorkerFailed(Exception):
    """What the worker answered instead."""

    def __init__(self, frame: messages.Failed) -> None:
        super().__init__(f"{frame.kind}: {frame.message}")
        self.frame = frame


class WorkerClient:
    """Asks one thing after another, or reads several streams by their ids."""

    def __init__(self, pipe: socket.socket, process: subprocess.Popen[bytes]) -> None:
        self.process = process
        self.pipe = pipe
        self._reader = FrameReader(messages.FromWorker)
        self._frames: dict[int, deque] = defaultdict(deque)
        self._next = 0
        pipe.settimeout(120)

    def send(self, frame) -> None:
        self.pipe.sendall(pack(frame))

    def next_frame(self, id_: int):
        """The next frame of one request; EOFError when the worker is gone."""
        while not self._frames[id_]:
            data = self.pipe.recv(65536)
            if not data:
                raise EOFError
            for frame in self._reader.feed(data):
                self._frames[getattr(frame, "id", 0)].append(frame)
        frame = self._frames[id_].popleft()
        if isinstance(frame, messages.Failed):
            raise WorkerFailed(frame)
        return frame

    def new_id(self) -> int:
        self._next += 1
        return self._next

    def start(self, prompt, sampling: Sampling) -> int:
        id_ = self.new_id()
        self.send(messages.Generate(id=id_, prompt=prompt, sampling=sampling))
        return id_

    def read(self, id_: int) -> Iterator[Token | Finish]:
        while True:
            frame = self.next_frame(id_)
            if isinstance(frame, messages.Finished):
                yield frame.finish
                return
            yield from frame.tokens

    def generate(self, prompt, sampling: Sampling) -> tuple[str, list[Token], Finish]:
        *tokens, finish = self.read(self.start(prompt, sampling))
        return "".join(t.text for t in tokens), tokens, finish

    def tokenize(self, text: str, add_special: bool = False) -> list[int]:
        id_ = self.new_id()
        self.send(messages.Tokenize(id=id_, text=text, add_special=add_special))
        return list(self.next_frame(id_).tokens)

    def detokenize(self, tokens) -> str:
        id_ = self.new_id()
        self.send(messages.Detokenize(id=id_, tokens=tuple(tokens)))
        return self.next_frame(id_).text

    def embed(self, *texts: str, window: int = 512, truncate: bool = True):
        wanted = TextsToEmbed(texts=texts, window=window, truncate=truncate)
        id_ = self.new_id()
        self.send(messages.Embed(id=id_, wanted=wanted))
        return self.next_frame(id_).embedded

    def cancel(self, id_: int) -> None:
        self.send(messages.Cancel(id=id_))


@contextlib.contextmanager
def worker(
    engine: str,
    weights: Path | None,
    model: Model,
    scratch: Path,
    *,
    llama_server: str = "",
    adapters: tuple[tuple[str, float], ...] = (),
    draft: str = "",
    folder: dict[str, str] | None = None,
    **options,
) -> Iterator[WorkerClient]:
    """A worker with the model loaded: of a file of weights, or of a folder's files by name."""
    ours, theirs = socket.socketpair()
    process = subprocess.Popen(
        [sys.executable, "-m", "dimora.runtime.worker", str(theirs.fileno())],
        pass_fds=(theirs.fileno(),),
        stdin=subprocess.DEVNULL,
    )
    theirs.close()
    client = WorkerClient(ours, process)
    scratch.mkdir(parents=True, exist_ok=True, mode=0o700)
    client.send(
        messages.Load(
            engine=engine,
            files=ModelFiles(
                weights=str(weights or ""), adapters=adapters, draft=draft, folder=folder or {}
            ),
            model=model,
            options=LoadOptions(**({"num_ctx": 1024, "parallel": 4} | options)),
            settings=EngineSettings(
                scratch_path=str(scratch),
                cache_path=str(scratch / "cache"),
                llama_server_path=llama_server,
            ),
        )
    )
    try:
        client.ready = client.next_frame(0)
        yield client
    finally:
        ours.close()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise
