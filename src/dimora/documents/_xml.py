"""XML as it may come from anybody: no entities, no DTD, nothing fetched, no endless depth."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from dimora.documents import refusals


def parse_xml(data: bytes, what: str) -> Any:
    """The root element. Entities are not followed, whatever they lead to.

    Raises BadRequest for what is not well formed.
    """
    from lxml import etree

    parser = etree.XMLParser(
        resolve_entities=False,
        no_network=True,
        load_dtd=False,
        dtd_validation=False,
        huge_tree=False,
        remove_comments=True,
        remove_pis=True,
    )
    try:
        root = etree.fromstring(data, parser)
    except (etree.XMLSyntaxError, ValueError):
        raise refusals.unreadable(what) from None
    # A document of an office has no DTD; one with entities was made to do harm.
    if root.getroottree().docinfo.internalDTD is not None and b"<!ENTITY" in data[:65536].upper():
        raise refusals.unreadable(what)
    return root


def children(element: Any) -> Iterator[tuple[str, Any]]:
    """Children with their names, without those that are no elements (such as entities)."""
    for child in element:
        if isinstance(child.tag, str):
            yield local(child.tag), child


def local(tag: str) -> str:
    """The name without its name space."""
    return tag.rpartition("}")[2]


def attribute(element: Any, name: str) -> str:
    """By its name without the name space, "" if it is not there."""
    for key, value in element.attrib.items():
        if local(key) == name:
            return str(value)
    return ""
