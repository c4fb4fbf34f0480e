"""Finds a file on the package index pip is configured for, by the index's own simple pages.

Asking pip for a source distribution would run code of it, for its metadata; here nothing of a
package is ever run. Indexes may be HTTP, `file://` trees or plain directories, their pages HTML
(PEP 503) or JSON (PEP 691).
"""

from __future__ import annotations

import ast
import asyncio
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urldefrag, urljoin, urlsplit
from urllib.request import url2pathname

import msgspec

from dimora.core.errors import SourceFailed
from dimora.core.json_text import BAD_JSON
from dimora.models.remote.access import SourceAccess
from dimora.models.remote.pip_query import NOTHING_SAID, IndexAccess, read_access, run_pip
from dimora.models.remote.whole_answers import read_whole

PAGE_LIMIT_BYTES = 64 << 20
_PAGE_SECONDS = 60.0
_ACCEPT = (
    "application/vnd.pypi.simple.v1+json, "
    "application/vnd.pypi.simple.v1+html;q=0.2, text/html;q=0.1"
)
_FRAGMENT_HASH = re.compile(r"(?:^|&)sha256=([0-9a-f]{64})(?:$|&)")
_DEFAULT_INDEX = re.compile(r"--index-url <url>.*?\(default\s+(\S+?)\)", re.DOTALL)
_SECTIONS = ("global", "install", ":env:")


class Places(msgspec.Struct, frozen=True, kw_only=True):
    """Where pip looks for packages: indexes in order, then pages and directories of files."""

    indexes: tuple[str, ...]
    find_links: tuple[str, ...] = ()
    access: IndexAccess = IndexAccess()


class FoundFile(msgspec.Struct, frozen=True, kw_only=True):
    """A file an index offers; `sha256` is empty when the index does not say it."""

    url: str
    sha256: str = ""

    @property
    def path(self) -> Path | None:
        """Where it lies on this machine, None when it lies elsewhere."""
        return local_path(self.url)


async def places(ours: SourceAccess) -> Places:
    """What pip is told, and `ours` where it is told nothing.

    Raises SourceFailed when pip cannot be asked.
    """
    status, out, _ = await run_pip(["config", "list"])
    listing = out.decode("utf-8", "replace") if status == 0 else ""
    default = ""
    if not _settings(listing).get("index-url"):
        # The only place where pip says which index it asks when nobody names one.
        _, out, _ = await run_pip(["install", "--help"], COLUMNS="1000")
        found = _DEFAULT_INDEX.search(out.decode("utf-8", "replace"))
        default = found.group(1) if found else ""
    return read_places(listing, default, ours)


def read_places(listing: str, default_index: str = "", ours: SourceAccess = NOTHING_SAID) -> Places:
    """What `pip config list` prints, understood as pip does: the environment comes last."""
    settings = _settings(listing)
    indexes: list[str] = []
    if settings.get("no-index", "").lower() not in ("1", "true", "yes", "on"):
        indexes = [settings.get("index-url") or default_index]
        indexes += settings.get("extra-index-url", "").split()
    return Places(
        indexes=tuple(index for index in indexes if index),
        find_links=tuple(settings.get("find-links", "").split()),
        access=read_access(listing, ours),
    )


def _settings(listing: str) -> dict[str, str]:
    found: dict[str, dict[str, str]] = {section: {} for section in _SECTIONS}
    for line in listing.splitlines():
        key, equals, quoted = line.partition("=")
        section, _, name = key.rpartition(".")
        if equals and section in found:
            try:
                found[section][name] = str(ast.literal_eval(quoted))
            except (ValueError, SyntaxError):
                continue
    return {name: value for section in _SECTIONS for name, value in found[section].items()}


async def find_file(package: str, names: tuple[str, ...], where: Places) -> list[FoundFile]:
    """Every offer of a file with one of these names, in the order pip would look.

    Raises SourceFailed when there is none, telling what each place said.
    """
    pages = [f"{index.rstrip('/')}/{package}/" for index in where.indexes]
    offers: list[FoundFile] = []
    said: list[str] = []
    for place in [*pages, *where.find_links]:
        url = _as_url(place)
        try:
            found = await _offers(url, where.access)
        except SourceFailed as why:
            said.append(f"{urlsplit(url).hostname or 'a directory'}: {why.message}")
        else:
            offers += [offer for offer in found if _name_of(offer.url) in names]
    if not offers:
        raise SourceFailed(
            f"no package index has {names[0]}" + (f" ({'; '.join(said)[:600]})" if said else ""),
            hint="`pip config list` shows the indexes that are asked; a mirror must carry the file",
        )
    return offers


async def _offers(url: str, access: IndexAccess) -> list[FoundFile]:
    """All files a page or a directory offers."""
    path = local_path(url)
    if path is not None:
        return await asyncio.to_thread(_local_offers, path, url)
    content, kind, final = await _get(url, access)
    return await asyncio.to_thread(read_page, content, kind, final)


def _local_offers(path: Path, url: str) -> list[FoundFile]:
    """Files of a directory: what its page names, else what lies in it."""
    page = path / "index.html" if path.is_dir() else path
    try:
        if page.is_file():
            base = url if page == path else f"{url.rstrip('/')}/index.html"
            with page.open("rb") as file:
                content = file.read(PAGE_LIMIT_BYTES + 1)
            _check_length(content)
            return read_page(content, "", base)
        return [FoundFile(url=each.resolve().as_uri()) for each in path.iterdir() if each.is_file()]
    except FileNotFoundError:
        return []
    except OSError as why:
        raise SourceFailed(f"a directory of packages cannot be read: {why.strerror}") from None


async def _get(url: str, access: IndexAccess) -> tuple[bytes, str, str]:
    """A page's bytes, its media type, and its address after redirects."""
    import httpx2

    from dimora.models.remote.downloading import open_client

    try:
        async with (
            open_client(access, url, stall_seconds=_PAGE_SECONDS) as client,
            client.stream("GET", url, headers={"Accept": _ACCEPT}) as response,
        ):
            if response.status_code == httpx2.codes.NOT_FOUND:
                return b"", "text/html", url
            if response.status_code != httpx2.codes.OK:
                raise SourceFailed(f"the index answered {response.status_code}")
            content = await read_whole(response, PAGE_LIMIT_BYTES)
            kind = response.headers.get("Content-Type", "")
            return content, str(kind).partition(";")[0].strip(), str(response.url)
    except httpx2.HTTPError as why:
        raise SourceFailed(
            f"the index cannot be reached: {type(why).__name__}", hint="check the connection"
        ) from None


def _check_length(content: bytes | bytearray) -> None:
    if len(content) > PAGE_LIMIT_BYTES:
        raise SourceFailed("the index has a page that is too large")


def read_page(content: bytes, kind: str, base: str) -> list[FoundFile]:
    """The files a simple page names. `base` is the address relative links begin at.

    Raises SourceFailed when it is no such page.
    """
    if kind.endswith("json") or (not kind and content.lstrip()[:1] == b"{"):
        return _read_json(content, base)
    reader = _Links(base)
    try:
        reader.feed(content.decode("utf-8", "replace"))
        return [_found(link) for link in reader.links]
    # Python's reader of HTML does not expect some kinds of nonsense.
    except (AssertionError, ValueError):
        raise SourceFailed("the index's page is not what PEP 503 says") from None


def _read_json(content: bytes, base: str) -> list[FoundFile]:
    try:
        page: Any = msgspec.json.decode(content)
        return [
            FoundFile(
                url=urldefrag(urljoin(base, str(row["url"]))).url,
                sha256=str(row.get("hashes", {}).get("sha256", "")),
            )
            for row in page["files"]
        ]
    except (*BAD_JSON, KeyError, TypeError, AttributeError, ValueError):
        raise SourceFailed("the index's page is not what PEP 691 says") from None


class _Links(HTMLParser):
    """The targets of all anchors of a page, absolute."""

    def __init__(self, base: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self._base = base

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        target = dict(attrs).get("href")
        if target and tag == "base":
            self._base = urljoin(self._base, target)
        elif target and tag == "a":
            self.links.append(urljoin(self._base, target.strip()))


def _found(link: str) -> FoundFile:
    url, fragment = urldefrag(link)
    stated = _FRAGMENT_HASH.search(fragment)
    return FoundFile(url=url, sha256=stated.group(1) if stated else "")


def _name_of(url: str) -> str:
    return unquote(urlsplit(url).path).rpartition("/")[2]


def _as_url(place: str) -> str:
    """A place as pip lets people write it: an address, or a path."""
    scheme = urlsplit(place).scheme
    if len(scheme) > 1:
        return place
    return Path(place).expanduser().absolute().as_uri()


def local_path(url: str) -> Path | None:
    """The path a `file://` address means, None for others."""
    parts = urlsplit(url)
    if parts.scheme != "file" or parts.netloc not in ("", "localhost"):
        return None
    return Path(url2pathname(parts.path))
