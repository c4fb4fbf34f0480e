"""How a command reaches the house: a running server, or a house in this process.

Either way a command asks a Request and reads Events.
"""

from __future__ import annotations

import asyncio
import contextlib
import getpass
import http.client
import os
import socket
import sys
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Generator, Iterable, Iterator
from functools import partial
from pathlib import Path
from queue import SimpleQueue
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol

import msgspec

from dimora.core.addresses import Address
from dimora.core.errors import Cancelled, DimoraError, InternalError, NotAuthenticated, NotFound
from dimora.core.frames import FrameReader
from dimora.core.settings import Settings
from dimora.core.types import Done, Event, Principal, Request

if TYPE_CHECKING:
    from dimora.runtime.house import House

_PROBE_SECONDS = 0.5
_GREETING_SECONDS = 5.0
_READ_BYTES = 2**16
_MARK = "dimora/"


class Ending:
    """By which another thread ends what is asked, whether events come or not."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._ends: Callable[[], object] | None = None
        self._has_come = False

    @property
    def has_come(self) -> bool:
        return self._has_come

    def come(self) -> None:
        """Returns at once; whoever reads the events gets a DimoraError."""
        with self._lock:
            self._has_come = True
            ends = self._ends
        if ends is not None:
            ends()

    def by(self, ends: Callable[[], object]) -> None:
        """What ends it: called at once where the end has come before."""
        with self._lock:
            self._ends = ends
        if self._has_come:
            ends()


class Door(Protocol):
    """Asks one thing after another."""

    is_remote: bool

    def ask(self, request: Request, ending: Ending | None = None) -> Generator[Event, None, None]:
        """Events, the last one a Done. Closing the iterator cancels. Raises DimoraError."""

    def bring(self, path: Path) -> Generator[Event, None, None]:
        """Put a file of this machine into the house's store: Progress, and one FileTaken.

        Raises DimoraError.
        """

    def close(self) -> None: ...

    def __enter__(self) -> Door: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...


def open_door(settings: Settings, *, here: bool = False) -> Door:
    """The running server's door where there is one, unless it must be `here`."""
    if not here:
        answering = who_answers(settings.host)
        if answering.startswith(_MARK):
            return ServerDoor(settings.host, settings)
        if answering:
            print(  # noqa: T201
                f"another program answers on {settings.host}; working without a server",
                file=sys.stderr,
            )
    return HouseDoor(settings)


def who_answers(address: Address) -> str:
    """The Server header of whatever answers there, `?` without one, empty for nobody."""
    connection = http.client.HTTPConnection(
        _reachable(address), address.port, timeout=_PROBE_SECONDS
    )
    with contextlib.closing(connection):
        try:
            connection.connect()
        except OSError:
            return ""
        connection.sock.settimeout(_GREETING_SECONDS)
        try:
            connection.request("GET", "/api/version")
            return connection.getresponse().getheader("Server") or "?"
        except (OSError, http.client.HTTPException):
            return "?"


def _reachable(address: Address) -> str:
    """Where a server bound there is reached from this machine."""
    return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(address.host, address.host)


class _Closing:
    def close(self) -> None:
        raise NotImplementedError

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


class ServerDoor(_Closing):
    """A running server, in our own dialect."""

    is_remote = True

    def __init__(self, address: Address, settings: Settings | None = None) -> None:
        self._host = _reachable(address)
        self._port = address.port
        self._settings = settings
        # Whether its store is the one of our settings; None until somebody wants to know.
        self._shares_store: bool | None = None

    def __enter__(self) -> ServerDoor:
        return self

    def ask(self, request: Request, ending: Ending | None = None) -> Generator[Event, None, None]:
        from dimora.dialects.native import PATH

        headers = {"Content-Type": "application/msgpack", **_credential()}
        connection = self._connect()
        try:
            connection.connect()
            if ending is not None:
                # The server ends the work of a caller who has left.
                ending.by(partial(_shut, connection.sock))
            connection.request("POST", PATH, msgspec.msgpack.encode(request), headers)
            answer = connection.getresponse()
            if answer.status != http.client.OK:
                raise read_refusal(answer.status, answer.read())
            yield from read_events(_pieces(answer))
        except (OSError, http.client.HTTPException):
            raise _broken_off() from None
        finally:
            connection.close()

    def bring(self, path: Path) -> Generator[Event, None, None]:
        from dimora.cli import uploading

        try:
            if self._settings is not None and self._is_ours(self._settings):
                # No second copy goes through the server: the terminal's own house takes it in.
                with HouseDoor(self._settings) as house:
                    yield from house.bring(path)
            else:
                yield from uploading.upload(path, self._has_blob, self._connect, _credential())
        except (OSError, http.client.HTTPException):
            raise _broken_off() from None

    def _is_ours(self, settings: Settings) -> bool:
        from dimora.cli import uploading

        if not Address(self._host, self._port).is_loopback:
            return False
        if self._shares_store is None:
            self._shares_store = uploading.shares_store(settings, self._has_blob)
        return self._shares_store

    def _has_blob(self, digest: str) -> bool:
        from dimora.tasks.find_blob import FindBlob

        try:
            for _ in self.ask(FindBlob(digest=digest)):
                pass
        except NotFound:
            return False
        return True

    def _connect(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection(self._host, self._port)

    def close(self) -> None:
        """Every request has a connection of its own: nothing is open."""


def _shut(line: socket.socket) -> None:
    """Whoever reads from it on another thread is let go, which closing alone does not do."""
    with contextlib.suppress(OSError):
        line.shutdown(socket.SHUT_RDWR)


def _credential() -> dict[str, str]:
    key = os.environ.get("DIMORA_API_KEY")
    return {"Authorization": f"Bearer {key}"} if key else {}


def _pieces(answer: http.client.HTTPResponse) -> Iterator[bytes]:
    while data := answer.read1(_READ_BYTES):
        yield data


def read_events(pieces: Iterable[bytes]) -> Iterator[Event]:
    """The events in a server's answer, however it was cut into pieces.

    Raises DimoraError: the one the server tells, or InternalError for an answer that has no end.
    """
    from dimora.dialects.native import Failure, error_of, event_union

    reader = FrameReader(event_union())
    ended = False
    try:
        for data in pieces:
            for event in reader.feed(data):
                if isinstance(event, Failure):
                    raise error_of(event)
                ended = isinstance(event, Done)
                yield event
    except ValueError:
        raise _other_version("cannot be understood") from None
    if not ended:
        raise _broken_off()


def read_refusal(status: int, body: bytes) -> DimoraError:
    """The error a server answered with instead of events."""
    from dimora.dialects.native import Failure, error_of

    try:
        error = error_of(msgspec.json.decode(body, type=Failure))
    except ValueError:
        return _other_version(f"has status {status}")
    if isinstance(error, NotAuthenticated):
        # The server's hint is for programs that write their own headers.
        error.hint = "put your key into $DIMORA_API_KEY"
    return error


def _broken_off() -> InternalError:
    return InternalError(
        "the server broke off", hint="is it still running? `dimora serve` starts it"
    )


def _other_version(what: str) -> InternalError:
    return InternalError(
        f"the server's answer {what}", hint="are server and terminal of one version?"
    )


class HouseDoor(_Closing):
    """A house in this process, for as long as the command runs.

    It lives on a thread of its own: models are kept and let go also while nobody asks.
    """

    is_remote = False

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="house", daemon=True)
        self._house: House | None = None
        # Two threads may be the first to ask.
        self._starting = threading.Lock()
        self._principal = Principal(
            user=_user(), workspace="main", roles=("owner",), proof="terminal"
        )

    def __enter__(self) -> HouseDoor:
        return self

    def ask(self, request: Request, ending: Ending | None = None) -> Generator[Event, None, None]:
        answer = _Answer(self._loop, self._started().run(self._principal, request))
        if ending is not None:
            ending.by(answer.cancel)
        try:
            yield from answer.events()
        finally:
            answer.end()

    def bring(self, path: Path) -> Generator[Event, None, None]:
        from dimora.tasks.take_file import TakeFile

        yield from self.ask(TakeFile(path=str(path.absolute())))

    def close(self) -> None:
        if self._thread.is_alive():
            if self._house is not None:
                self._wait(self._house.close())
                self._house = None
            self._wait(_end_tasks())
            self._wait(self._loop.shutdown_asyncgens())
            self._wait(self._loop.shutdown_default_executor())
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
        self._loop.close()

    def _started(self) -> House:
        with self._starting:
            if self._house is None:
                from dimora.runtime.house import House

                house = House(self._settings)
                if not self._thread.is_alive():
                    self._thread.start()
                self._wait(house.start())
                self._house = house
            return self._house

    def _wait(self, job: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(job, self._loop).result()


async def _end_tasks() -> None:
    """End what still runs: answers whose reader was interrupted more than once."""
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)


class _Answer:
    """One answer on its way from the house's thread to this one."""

    def __init__(self, loop: asyncio.AbstractEventLoop, stream: AsyncIterator[Event]) -> None:
        # The task itself comes last, when it is done.
        self._arrived: SimpleQueue[Event | asyncio.Task[None]] = SimpleQueue()
        self._loop = loop
        self._stream = stream
        self._task: asyncio.Task[None] | None = None
        self._ended = False
        loop.call_soon_threadsafe(self._start)

    def events(self) -> Iterator[Event]:
        """Raises DimoraError."""
        while not isinstance(item := self._arrived.get(), asyncio.Task):
            yield item
        self._ended = True
        if item.cancelled():
            raise Cancelled("the call was ended")
        item.result()

    def cancel(self) -> None:
        """Returns at once; from any thread."""
        self._loop.call_soon_threadsafe(self._cancel)

    def end(self) -> None:
        """Cancel what still runs, and wait until it has ended."""
        if self._ended:
            return
        self.cancel()
        while not isinstance(self._arrived.get(), asyncio.Task):
            pass
        self._ended = True

    def _start(self) -> None:
        self._task = self._loop.create_task(self._carry())
        self._task.add_done_callback(self._arrived.put)

    def _cancel(self) -> None:
        if self._task is not None:
            self._task.cancel()

    async def _carry(self) -> None:
        try:
            async for event in self._stream:
                self._arrived.put(event)
        finally:
            await self._stream.aclose()  # type: ignore[attr-defined]


def _user() -> str:
    """The login name; in a container the user often has none."""
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):
        return f"uid {os.getuid()}"
