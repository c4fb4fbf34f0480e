"""The blocks of a page of HTML: what a reader would see of it, and nothing is loaded.

Used by all types that have pages inside: HTML, EPUB, mail.
"""

from __future__ import annotations

import re
from typing import Any, NamedTuple

from dimora.documents._blocks import Blocks, one_line
from dimora.documents.base import Kind

_HEADINGS = {f"h{level}": level for level in range(1, 7)}
# What is not shown, or is of no use as text.
_SILENT = frozenset(
    "script style template noscript iframe object embed svg math canvas audio video map head"
    " select datalist button input textarea -comment".split()
)
_PARTING = frozenset(
    "p div section article main header footer aside nav ul ol dl dt dd figure figcaption address"
    " blockquote form fieldset details summary center body html hr title".split()
)
_HIDDEN_STYLE = re.compile(
    # Not within longer names, such as backface-visibility.
    r"(?<![\w-])(?:display\s*:\s*none|visibility\s*:\s*hidden"
    r"|(?:font-size|opacity)\s*:\s*0(?![.\d]*[1-9])|mso-hide\s*:\s*all)",
    re.IGNORECASE,
)
# A list, row or paragraph of so many links within a document, which have this share of its letters,
# tells where to go. Links to files and other sites tell what there is.
_NAVIGATION = frozenset("nav ul ol dl p table".split())
_LINKS, _LINKED_SHARE = 3, 0.6
_WITHIN = re.compile(r"(?![a-z][a-z0-9+.-]*:|//)[^?]*?(?:\.x?html?)?(?:#.*)?$", re.IGNORECASE)
# Deeper than this nobody nests on purpose; what is below is taken as one text.
_DEPTH = 150


class Page(NamedTuple):
    """What was found beside the blocks, and whether anything hidden was left out."""

    title: str
    hidden: bool


def read_page(text: str, blocks: Blocks) -> Page:
    """Add the blocks of a page."""
    from selectolax.lexbor import LexborHTMLParser

    tree = LexborHTMLParser(text)
    head = tree.css_first("head > title")
    reader = _Reader(blocks)
    if tree.body is not None:
        reader.walk(tree.body, 0)
    reader.close()
    return Page(one_line(head.text()) if head is not None else "", reader.hidden)


class _Reader:
    """Walks a tree; text gathers until something parts it."""

    def __init__(self, blocks: Blocks) -> None:
        self._blocks = blocks
        self._open: list[str] = []
        self._item = ""
        self._navigation = False
        self.hidden = False

    def close(self) -> None:
        if self._open:
            text = "\n".join(one_line(line) for line in "".join(self._open).split("\n"))
            self._open = []
            text = text.strip()
            if text:
                kind: Kind = "item" if self._item else "paragraph"
                self._blocks.add("navigation" if self._navigation else kind, self._item + text)
                self._item = ""

    def walk(self, node: Any, depth: int) -> None:
        """Everything below `node`."""
        child = node.child
        while child is not None:
            tag = child.tag
            if tag == "-text":
                self._open.append(child.text_content.replace("\n", " "))
            elif tag in _SILENT:
                pass
            elif self._is_hidden(child):
                self.hidden = True
            elif depth < _DEPTH:
                self._element(tag, child, depth + 1)
            else:
                self._open.append(self._run_below(child, " "))
            child = child.next

    def _is_hidden(self, node: Any) -> bool:
        attributes = node.attributes
        if not attributes:
            return False
        style = attributes.get("style")
        return "hidden" in attributes or bool(style and _HIDDEN_STYLE.search(style))

    def _element(self, tag: str, node: Any, depth: int) -> None:
        if tag in _NAVIGATION and not self._navigation and _is_navigation(node):
            self.close()
            self._navigation = True
            self.walk(node, depth)
            self.close()
            self._navigation = False
        elif tag == "br":
            self._open.append("\n")
        elif tag in _HEADINGS:
            self.close()
            # The sign at the end is a link to the heading itself.
            self._blocks.add("heading", self._words(node).rstrip("¶ "), level=_HEADINGS[tag])
        elif tag == "li":
            self.close()
            self._item = _mark_of(node)
            self.walk(node, depth)
            self.close()
            self._item = ""
        elif tag == "pre":
            self.close()
            self._blocks.add("code", self._run_below(node, "\n"))
        elif tag == "table":
            self._table(node, depth)
        elif tag in _PARTING:
            self.close()
            self.walk(node, depth)
            self.close()
        else:
            self.walk(node, depth)

    def _words(self, node: Any) -> str:
        """The visible text below a node, on one line."""
        return one_line(self._run_below(node, " "))

    def _run_below(self, node: Any, seam: str) -> str:
        """All visible text below as one run, however deep it nests. `seam` stands for each `br`; a
        space also for what parts paragraphs, while code has its line ends in the text."""
        found: list[str] = []
        waiting = [node.child]
        while waiting:
            child = waiting.pop()
            if child is None:
                continue
            waiting.append(child.next)
            tag = child.tag
            if tag == "-text":
                found.append(child.text_content)
            elif tag in _SILENT:
                pass
            elif self._is_hidden(child):
                self.hidden = True
            else:
                if tag == "br" or (seam == " " and (tag in _PARTING or tag in ("td", "li"))):
                    found.append(seam)
                waiting.append(child.child)
        return "".join(found)

    def _table(self, node: Any, depth: int) -> None:
        """A table of values; one that only lays out a page is walked through as a page."""
        self.close()
        for caption in self._shown(node, "caption"):
            self._blocks.add("paragraph", self._words(caption))
        rows = self._rows_of(node)
        if max((len(row) for row in rows), default=0) < 2 or node.css_first("table table"):
            self._walk_cells(rows, depth)
            return
        cells = [[cell for one in row for cell in self._spanned(one)] for row in rows]
        self._blocks.add_table(cells)

    def _rows_of(self, table: Any) -> list[list[Any]]:
        """The cells of its own visible rows, not of tables within; a cell may be hidden."""
        groups = [table, *self._shown(table, "thead", "tbody", "tfoot")]
        return [
            [cell for cell in row.iter() if cell.tag in ("td", "th")]
            for group in groups
            for row in self._shown(group, "tr")
        ]

    def _shown(self, node: Any, *tags: str) -> list[Any]:
        """Those right below that are of these tags and not hidden."""
        found = []
        for child in node.iter():
            if child.tag in tags:
                if self._is_hidden(child):
                    self.hidden = True
                else:
                    found.append(child)
        return found

    def _walk_cells(self, rows: list[list[Any]], depth: int) -> None:
        for row in rows:
            for cell in row:
                if self._is_hidden(cell):
                    self.hidden = True
                elif depth < _DEPTH:
                    self.walk(cell, depth + 1)
                self.close()

    def _spanned(self, cell: Any) -> list[str]:
        """Its text, and empty cells for the other columns it spans."""
        if self._is_hidden(cell):
            self.hidden = True
            return [""]
        span = cell.attributes.get("colspan") or ""
        return [self._words(cell)] + [""] * (min(int(span), 50) - 1 if span.isdecimal() else 0)


def _is_navigation(node: Any) -> bool:
    links = [_letters(link) for link in node.css("a[href]") if _leads_within(link)]
    return len(links) >= _LINKS and sum(links) >= _LINKED_SHARE * _letters(node)


def _leads_within(link: Any) -> bool:
    target = link.attributes.get("href") or ""
    found = _WITHIN.match(target)
    return bool(found and (target.startswith("#") or ".htm" in target.lower() or ".xhtm" in target))


def _letters(node: Any) -> int:
    return sum(map(str.isalnum, node.text()))


def _mark_of(node: Any) -> str:
    parent = node.parent
    if parent is None or parent.tag != "ol":
        return "- "
    number = 1
    before = node.prev
    while before is not None and number < 10_000:
        number += before.tag == "li"
        before = before.prev
    return f"{number}. "
