"""Books in EPUB: their chapters in the order of reading."""

from __future__ import annotations

import posixpath
from typing import Any

from dimora.core.errors import BadRequest
from dimora.documents import refusals
from dimora.documents._blocks import Blocks, one_line
from dimora.documents._decoding import decoded
from dimora.documents._markup import read_page
from dimora.documents._packages import Package, declares
from dimora.documents._xml import attribute, local, parse_xml
from dimora.documents.base import Budget, Document

NAME = "EPUB"
ENDINGS = (".epub",)
MEDIA_TYPES = ("application/epub+zip",)
EXTRA = ""

_CONTAINER = "META-INF/container.xml"
_PAGES = ("application/xhtml+xml", "text/html")


def is_it(head: bytes, name: str) -> bool:
    return declares(head, *MEDIA_TYPES)


def read(data: bytes, name: str, budget: Budget) -> Document:
    package = Package(data, NAME, budget)
    if "META-INF/rights.xml" in package:
        raise refusals.sealed()
    where = [
        attribute(one, "full-path")
        for one in parse_xml(package.read(_CONTAINER), NAME).iter()
        if isinstance(one.tag, str) and local(one.tag) == "rootfile"
    ]
    if not where:
        raise refusals.unreadable(NAME)
    book = parse_xml(package.read(where[0]), NAME)
    blocks = Blocks(budget)
    warnings = []
    for chapter in _chapters(book, posixpath.dirname(where[0])):
        if chapter not in package:
            warnings.append(f"a chapter is missing: {posixpath.basename(chapter)}")
            continue
        try:
            text = decoded(package.read(chapter))
        except BadRequest:
            warnings.append(f"a chapter cannot be read: {posixpath.basename(chapter)}")
            continue
        page = read_page(text, blocks)
        if page.hidden and "hidden text was left out" not in warnings:
            warnings.append("hidden text was left out")
    return Document(
        name=name,
        media_type=MEDIA_TYPES[0],
        blocks=blocks.all(),
        title=_title(book),
        warnings=tuple(warnings),
    )


def _chapters(book: Any, folder: str) -> list[str]:
    """Names in the archive, in the order of the spine, each once."""
    items: dict[str, str] = {}
    order: list[str] = []
    for one in book.iter():
        if not isinstance(one.tag, str):
            continue
        if local(one.tag) == "item" and attribute(one, "media-type") in _PAGES:
            href = _unquoted(attribute(one, "href").partition("#")[0])
            items[attribute(one, "id")] = posixpath.normpath(posixpath.join(folder, href))
        elif local(one.tag) == "itemref":
            order.append(attribute(one, "idref"))
    return list(dict.fromkeys(items[id_] for id_ in order if id_ in items))


def _unquoted(href: str) -> str:
    """What percent signs stand for; the library that does it brings the network with it."""
    raw = href.encode()
    parts = raw.split(b"%")
    whole = parts[0]
    for part in parts[1:]:
        try:
            whole += bytes.fromhex(part[:2].decode("ascii")) + part[2:]
        except ValueError:
            whole += b"%" + part
    return whole.decode("utf-8", "replace")


def _title(book: Any) -> str:
    for one in book.iter():
        if isinstance(one.tag, str) and local(one.tag) == "title":
            return one_line(one.text or "")
    return ""
