"""Runs the server: checks the bind, opens the socket, serves until a signal, closes the house."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING

from dimora.core.addresses import Address
from dimora.core.errors import ConfigurationError
from dimora.core.settings import Settings

if TYPE_CHECKING:
    from dimora.server.answering import House

BACKLOG = 2048
# How long answers may go on after a signal to stop.
GRACE_SECONDS = 3
KEEP_ALIVE_SECONDS = 75
# The open files a server asks for, connections among them; macOS says more than it grants.
_MOST_FILES = 65_536
_FILES_ON_MACOS = 10_240
# Of these so many are kept for models, logs and workers, however many connect.
_KEPT_FILES = 256

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


def run_server(
    settings: Settings, sources: Mapping[str, str], on_ready: Callable[[str], None]
) -> None:
    """Serve until SIGINT or SIGTERM.

    `sources` says where each setting came from. `on_ready` is told the URL once requests are
    answered.

    Raises:
        ConfigurationError: the bind is wider than loopback and there are no keys, or the address
            cannot be had.
        DimoraError: the house cannot start.
    """
    check_bind(settings, sources)
    prepare_log(debug=settings.debug)
    with open_socket(settings.host, sources.get("host", "default")) as listener:
        # Imported this late so that commands which do not serve never pay for it.
        from dimora.runtime.house import House

        asyncio_run = _choose_runner()
        asyncio_run(_serve(House(settings), settings, listener, on_ready))


def check_bind(settings: Settings, sources: Mapping[str, str]) -> None:
    """Raises ConfigurationError when anyone in the network could call without a key."""
    if settings.host.is_loopback or settings.api_keys:
        return
    raise ConfigurationError(
        f"host {settings.host} (from {sources.get('host', 'default')}) can be reached from"
        " other machines, and no API keys are set",
        hint="set DIMORA_API_KEYS=name:key with a key of 16 characters or more,"
        " or bind to 127.0.0.1",
    )


def prepare_log(*, debug: bool) -> None:
    """Plain lines of key=value on standard error; never content. `debug` is for our own rooms."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        logging.Formatter("time=%(asctime)s level=%(levelname)s room=%(name)s %(message)s")
    )
    logging.basicConfig(level=logging.WARNING, handlers=[handler])
    logging.getLogger("dimora").setLevel(logging.DEBUG if debug else logging.WARNING)


def open_socket(address: Address, source: str) -> socket.socket:
    """A bound socket. Raises ConfigurationError that says whose setting it is."""
    # The name needs no look-up, and both its addresses would need two sockets.
    host = "127.0.0.1" if address.host == "localhost" else address.host
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        if os.name == "posix":
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, address.port))
        listener.listen(BACKLOG)
    except OSError as why:
        listener.close()
        raise ConfigurationError(
            f"cannot serve on {address} (host from {source}): {_bind_problem(why)}",
            hint="is another server running there? choose another address with DIMORA_HOST",
        ) from None
    listener.setblocking(False)
    return listener


def _bind_problem(why: OSError) -> str:
    if why.errno == errno.EADDRINUSE:
        return "the port is taken"
    if isinstance(why, socket.gaierror):
        return "this is no address of this machine"
    return why.strerror or "the address cannot be used"


def raise_file_limit() -> int:
    """Ask for as many open files as this process may have; returns how many there may be."""
    if sys.platform == "win32":
        return _MOST_FILES
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    now, most = (
        _MOST_FILES if limit == resource.RLIM_INFINITY else min(limit, _MOST_FILES)
        for limit in (soft, hard)
    )
    for wanted in (most, _FILES_ON_MACOS):
        if wanted > now:
            with contextlib.suppress(ValueError, OSError):
                resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
                return wanted
    return now


def _choose_runner() -> Callable[..., None]:
    try:
        import uvloop
    except ImportError:
        return asyncio.run
    return uvloop.run


async def _serve(
    house: House, settings: Settings, listener: socket.socket, on_ready: Callable[[str], None]
) -> None:
    import uvicorn

    from dimora.server.app import build_app
    from dimora.server.connections import BoundedHttp

    files = raise_file_limit()

    class Connection(BoundedHttp):
        most_connections = files - min(_KEPT_FILES, files // 2)

    class Server(uvicorn.Server):
        """Tells when it is ready, and leaves quietly at a signal instead of raising it again."""

        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            host, port = listener.getsockname()[:2]
            on_ready(f"http://{Address(host, port)}")

        @contextlib.contextmanager
        def capture_signals(self) -> Iterator[None]:
            if threading.current_thread() is not threading.main_thread():
                yield
                return
            before = {each: signal.signal(each, self.handle_exit) for each in _SIGNALS}
            try:
                yield
            finally:
                for each, handler in before.items():
                    signal.signal(each, handler)

    config = uvicorn.Config(
        build_app(house, settings),
        http=Connection,
        log_config=None,
        access_log=False,
        server_header=False,
        # Whoever is at the other end of the socket is the peer, whatever headers say.
        proxy_headers=False,
        # The house is started and closed here, so that its errors reach the caller.
        lifespan="off",
        ws="none",
        backlog=BACKLOG,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=GRACE_SECONDS,
    )
    server = Server(config)
    # While it stops, answers are cut off on purpose: that is nothing to log a trace of.
    logging.getLogger("uvicorn.error").addFilter(lambda record: not server.should_exit)
    try:
        await house.start()
        house.prepare()
        await house.tidy()
        await server.serve(sockets=[listener])
        if cut_off := list(server.server_state.tasks):
            # They write their last words before the house goes.
            await asyncio.wait(cut_off, timeout=1)
    finally:
        await house.close()
