"""The text of a file on this machine. The one place where a command reads one to work with it.

Plain text in UTF-8 is taken as it stands; any other document is read in a process of its own.
"""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from dimora.core.errors import BadRequest

if TYPE_CHECKING:
    import asyncio

    from dimora.documents.base import Document
    from dimora.documents.reading import Reader

# Text with much around it that nobody reads.
_WRAPPED = frozenset({".html", ".htm", ".xhtml", ".shtml", ".eml", ".mht", ".mhtml"})
# As much as the reading process takes (`documents.limits`).
_BYTES_AT_MOST = 200 * 2**20


class Texts:
    """Reads one file after another with one process, which starts when it is needed.

    A context manager, to be used outside of any event loop.
    """

    def __init__(self) -> None:
        self._runner: asyncio.Runner | None = None
        self._reader: Reader | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._runner is not None and self._reader is not None:
            self._runner.run(self._reader.__aexit__(kind, error, trace))
            self._runner.close()

    def of(self, path: Path) -> str:
        """Raises BadRequest for what cannot be read, is too large, or is of no known type."""
        data = bytes_of(path)
        text = _plain(data)
        if text is not None and path.suffix.lower() not in _WRAPPED:
            return text
        return self._document(path, data).whole_text

    def _document(self, path: Path, data: bytes) -> Document:
        import asyncio

        from dimora.documents.reading import Reader

        if self._runner is None or self._reader is None:
            self._runner, self._reader = asyncio.Runner(), Reader()
        try:
            return self._runner.run(self._reader.read(path.name, data))
        except BadRequest as why:
            raise BadRequest(
                f"{path.name} cannot be read: {why.message}", hint=why.hint, code=why.code
            ) from None


def text_of(path: Path) -> str:
    """Of a single file; see `Texts.of`."""
    with Texts() as texts:
        return texts.of(path)


def bytes_of(path: Path) -> bytes:
    """Raises BadRequest for what cannot be read or is too large."""
    try:
        if path.stat().st_size > _BYTES_AT_MOST:
            raise BadRequest(f"{path.name} is larger than {_BYTES_AT_MOST // 2**20} MiB")
        return path.read_bytes()
    except OSError as why:
        raise BadRequest(f"{path.name} cannot be read: {why.strerror}") from None


def _plain(data: bytes) -> str | None:
    """The text, None for what is no text in UTF-8."""
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return None
    return None if "\0" in text else text
