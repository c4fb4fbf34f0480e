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
from collections.abc import AsyncIterator, Iterator
from types import TracebackType
from typing import TYPE_CHECKING, Protocol

import msgspec

from dimora.core.errors import InternalError
from dimora.core.frames import FrameReader
from dimora.core.settings import Address, Settings
from dimora.core.types import Event, Principal, Request

if TYPE_CHECKING:
    from dimora.runtime.house import House

_PROBE_SECONDS = 0.5
_READ_BYTES = 2**16
_MARK = "dimora/"


class Door(Protocol):
    """Asks one thing after another."""

    is_remote: bool

    def ask(self, request: Request) -> Iterator[Event]:
        """Events, the last one a Done. Closing the iterator cancels. Raises DimoraError."""

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
            return ServerDoor(settings.host)
        if answering:
            print(  # noqa: T201
                f"another program answers on {settings.host}; working without a server",
                file=sys.stderr,
            )
    return HouseDoor(settings)


def who_answers(address: Address) -> str:
    """The Server header of whatever answers there, `?` without one, empty for nobody."""
    host = _reachable(address)
    try:
        with socket.create_connection((host, address.port), timeout=_PROBE_SECONDS):
            pass
        connection = http.client.HTTPConnection(host, address.port, timeout=5)
        with contextlib.closing(connection):
            connection.request("GET", "/api/version")
            return connection.getresponse().getheader("Server") or "?"
    except (OSError, http.client.HTTPException):
        return ""


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

    def __init__(self, address: Address) -> None:
        self._host = _reachable(address)
        self._port = address.port

    def __enter__(self) -> ServerDoor:
        return self

    def ask(self, request: Request) -> Iterator[Event]:
        from dimora.dialects.native import PATH, Failure, error_of, event_union

        headers = {"Content-Type": "application/msgpack"}
        if key := os.environ.get("DIMORA_API_KEY"):
            headers["Authorization"] = f"Bearer {key}"
        connection = http.client.HTTPConnection(self._host, self._port)
        try:
            connection.request("POST", PATH, msgspec.msgpack.encode(request), headers)
            answer = connection.getresponse()
            if answer.status != http.client.OK:
                raise error_of(msgspec.json.decode(answer.read(), type=Failure))
            reader = FrameReader(event_union())
            while data := answer.read1(_READ_BYTES):
                for event in reader.feed(data):
                    if isinstance(event, Failure):
                        raise error_of(event)
                    yield event
        except (OSError, http.client.HTTPException, msgspec.MsgspecError):
            raise InternalError(
                "the server broke off", hint="is it still running? `dimora serve` starts it"
            ) from None
        finally:
            connection.close()

    def close(self) -> None:
        """Every request has a connection of its own: nothing is open."""


class HouseDoor(_Closing):
    """A house in this process, for as long as the command runs."""

    is_remote = False

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._runner = asyncio.Runner()
        self._house: House | None = None
        self._principal = Principal(
            user=getpass.getuser(), workspace="main", roles=("owner",), proof="terminal"
        )

    def __enter__(self) -> HouseDoor:
        return self

    def ask(self, request: Request) -> Iterator[Event]:
        stream = self._started().run(self._principal, request)
        try:
            while (event := self._runner.run(_next(stream))) is not None:
                yield event
        finally:
            self._runner.run(_close(stream))

    def close(self) -> None:
        if self._house is not None:
            self._runner.run(self._house.close())
            self._house = None
        self._runner.close()

    def _started(self) -> House:
        if self._house is None:
            from dimora.runtime.house import House

            house = House(self._settings)
            self._runner.run(house.start())
            self._house = house
        return self._house


async def _next(stream: AsyncIterator[Event]) -> Event | None:
    return await anext(stream, None)


async def _close(stream: AsyncIterator[Event]) -> None:
    await stream.aclose()  # type: ignore[attr-defined]
