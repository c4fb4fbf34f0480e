"""Any registry that speaks the OCI distribution protocol, with Basic or Bearer proof or none."""

from __future__ import annotations

from dimora.models.names import DEFAULT_HOST
from dimora.models.sources._registries import fetch as fetch
from dimora.models.sources._registries import fetch_blob as fetch_blob
from dimora.models.sources.base import HUB_HOSTS, Wanted


def accepts(wanted: Wanted) -> bool:
    """Names with a host that is neither Ollama's nor a hub of repositories."""
    host = wanted.name.host.lower()
    return host != DEFAULT_HOST and host not in HUB_HOSTS and not wanted.is_file
