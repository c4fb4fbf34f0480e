"""A page of a package index, in both of its forms, and a registry's index of manifests."""

from __future__ import annotations

from dimora.core.errors import DimoraError
from dimora.models.remote.package_index import read_page
from dimora.models.remote.registry import choose_manifest

REFUSAL = DimoraError


def seeds() -> list[bytes]:
    return [
        b'<!doctype html><a href="../a-1.tar.gz#sha256=00" data-yanked="x">a-1.tar.gz</a>',
        b'{"files":[{"url":"a-1.tar.gz","hashes":{"sha256":"00"},"filename":"a-1.tar.gz"}]}',
        b'{"manifests":[{"digest":"sha256:00","platform":{"os":"linux"}}]}',
    ]


def read(data: bytes) -> None:
    refused: DimoraError | None = None
    for attempt in (
        lambda: read_page(data, "text/html", "https://index.example/simple/a/"),
        lambda: read_page(data, "application/vnd.pypi.simple.v1+json", "https://index.example/"),
        lambda: choose_manifest(data),
    ):
        try:
            attempt()
        except DimoraError as why:
            refused = why
    if refused:
        raise refused
