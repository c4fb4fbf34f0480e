"""Pages of package indexes are understood in every form pip understands them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from dimora.core.errors import SourceFailed
from dimora.models.remote.package_index import (
    PAGE_LIMIT_BYTES,
    Places,
    find_file,
    read_page,
    read_places,
)

HASH = "ab" * 32
NAMES = ("thing-1.0.tar.gz",)


def html(href: str, base: str = "") -> bytes:
    return f'<html><head>{base}</head><body><a href="{href}">thing</a></body></html>'.encode()


def test_an_html_page_gives_absolute_addresses_and_hashes():
    page = html(f"../../files/thing-1.0.tar.gz#sha256={HASH}")
    (found,) = read_page(page, "text/html", "https://index.test/simple/thing/")
    assert found.url == "https://index.test/files/thing-1.0.tar.gz"
    assert found.sha256 == HASH


def test_a_base_address_in_the_page_counts():
    page = html("thing-1.0.tar.gz", base='<base href="https://files.test/deep/">')
    (found,) = read_page(page, "text/html", "https://index.test/simple/thing/")
    assert (found.url, found.sha256) == ("https://files.test/deep/thing-1.0.tar.gz", "")


def test_a_json_page_is_read_by_its_type_and_by_its_look():
    page = json.dumps(
        {"files": [{"url": "../thing-1.0.tar.gz", "hashes": {"sha256": HASH}, "more": 1}]}
    ).encode()
    for kind in ("application/vnd.pypi.simple.v1+json", ""):
        (found,) = read_page(page, kind, "https://index.test/simple/thing/")
        assert (found.url, found.sha256) == ("https://index.test/simple/thing-1.0.tar.gz", HASH)


@pytest.mark.parametrize("page", [b"{", b"[]", b'{"files": 1}', b'{"files": [{}]}', b"\xff"])
def test_a_broken_json_page_is_an_error_of_the_source(page):
    with pytest.raises(SourceFailed):
        read_page(page, "application/vnd.pypi.simple.v1+json", "https://index.test/")


def test_what_pip_is_told_is_ordered_as_pip_orders_it():
    listing = "\n".join(
        [
            ":env:.extra-index-url='https://c.test/simple'",
            "global.extra-index-url='https://old.test/simple'",
            "global.index-url='https://a.test/simple'",
            "install.index-url='https://b.test/simple'",
            "global.find-links='/wheels file:///more'",
            "list.index-url='https://never.test'",
            "global.broken=not a value",
        ]
    )
    where = read_places(listing, "https://default.test/simple")
    assert where.indexes == ("https://b.test/simple", "https://c.test/simple")
    assert where.find_links == ("/wheels", "file:///more")


def test_without_an_index_pips_own_is_asked_unless_indexes_are_forbidden():
    assert read_places("", "https://default.test/simple").indexes == (
        "https://default.test/simple",
    )
    forbidden = read_places("global.no-index='true'\nglobal.find-links='/wheels'", "https://d.test")
    assert forbidden.indexes == ()
    assert forbidden.find_links == ("/wheels",)


async def test_a_file_is_found_in_a_directory(tmp_path: Path):
    (tmp_path / NAMES[0]).write_bytes(b"x")
    (tmp_path / "thing-2.0.tar.gz").write_bytes(b"x")
    (offer,) = await find_file("thing", NAMES, Places(indexes=(), find_links=(str(tmp_path),)))
    assert offer.path == (tmp_path / NAMES[0]).resolve()


async def test_a_file_is_found_through_a_tree_of_pages(tmp_path: Path):
    (tmp_path / "files").mkdir()
    (tmp_path / "files" / NAMES[0]).write_bytes(b"x")
    page = tmp_path / "simple" / "thing" / "index.html"
    page.parent.mkdir(parents=True)
    page.write_bytes(html(f"../../files/{NAMES[0]}#sha256={HASH}"))
    where = Places(indexes=((tmp_path / "simple").as_uri(),))
    (offer,) = await find_file("thing", NAMES, where)
    assert offer.path == tmp_path / "files" / NAMES[0]
    assert offer.sha256 == HASH


async def test_what_no_place_has_is_an_error_with_a_hint(tmp_path: Path):
    where = Places(indexes=(tmp_path.as_uri(),), find_links=(str(tmp_path / "nowhere"),))
    with pytest.raises(SourceFailed, match=r"thing-1\.0") as error:
        await find_file("thing", NAMES, where)
    assert "pip config list" in error.value.hint


async def test_a_page_without_end_is_not_read(tmp_path: Path):
    with (tmp_path / "index.html").open("wb") as file:
        file.truncate(PAGE_LIMIT_BYTES + 1)
    with pytest.raises(SourceFailed, match="too large"):
        await find_file("thing", NAMES, Places(indexes=(), find_links=(str(tmp_path),)))
