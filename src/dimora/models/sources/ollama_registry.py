"""Ollama's own registry: names without a host, and those with that host."""

from __future__ import annotations

from dimora.models.names import DEFAULT_HOST
from dimora.models.sources._registries import fetch as fetch
from dimora.models.sources._registries import fetch_blob as fetch_blob
from dimora.models.sources.base import Wanted


def accepts(wanted: Wanted) -> bool:
    """Names of that registry, but those the catalogue has from elsewhere."""
    return wanted.name.host == DEFAULT_HOST and wanted.entry is None and not wanted.is_file
