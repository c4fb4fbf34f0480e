"""Takes the words out of a Word document and puts others in their place. Not a task itself.

Office Open XML, ECMA-376: a package is a ZIP file; its words stand in `t` elements of runs `r` in
paragraphs `p`. Only those elements are written anew: every other byte of a part stays as it is, so
that styles, pictures, fields and what this reader does not know come through.
"""

from __future__ import annotations

import copy
import io
import re
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from xml.parsers import expat
from xml.sax.saxutils import escape

import msgspec

from dimora.core.errors import BadRequest
from dimora.tasks.ready._placeholders import speaks

# The parts that have words people read.
_PARTS = re.compile(r"word/(?:document|header\d*|footer\d*|footnotes|endnotes)\.xml")
# Of the parts with words, which are held, and of all parts together, which are only passed on. What
# a part says of its size is what is unpacked of it.
_BYTES_AT_MOST = 64 * 2**20
_UNPACKED_AT_MOST = 128 * 2**20
_PIECE_BYTES = 2**20
_WORDS = re.compile(
    r"http://(?:schemas\.openxmlformats\.org|purl\.oclc\.org/ooxml)/wordprocessingml/(?:2006/)?main"
)
# What stands between words of one run, and may not change its place among them.
_BREAKS = frozenset(
    "tab br cr noBreakHyphen sym fldChar instrText footnoteReference endnoteReference drawing pict"
    " object ptab".split()
)


class Stretch(msgspec.Struct):
    """Words of one look within a paragraph. `spans` are the bytes of its `t` elements."""

    look: bytes
    words: str
    spans: list[tuple[int, int]]


class Paragraph(msgspec.Struct):
    """Stretches that follow each other without anything between that has a place of its own."""

    stretches: list[Stretch]

    @property
    def words(self) -> str:
        return "".join(stretch.words for stretch in self.stretches)

    @property
    def speaks(self) -> bool:
        return speaks(self.words)


class Document:
    """A Word document that is being changed.

    Raises:
        BadRequest: it is none, it is protected by a password, or too large.
    """

    def __init__(self, data: bytes) -> None:
        self._parts: dict[str, tuple[bytes, list[Paragraph]]] = {}
        try:
            self._package = zipfile.ZipFile(io.BytesIO(data))
            every = self._package.infolist()
            spoken = [info for info in every if _PARTS.fullmatch(info.filename)]
            if (
                sum(info.file_size for info in every) > _UNPACKED_AT_MOST
                or sum(info.file_size for info in spoken) > _BYTES_AT_MOST
            ):
                raise BadRequest("the document is too large", param="text")
            for info in every:
                if _PARTS.fullmatch(info.filename):
                    part = b"".join(self._unpacked(info))
                    self._parts[info.filename] = (part, _Reader(part).paragraphs)
                else:
                    # Damage shows now, and not when all has been translated.
                    for _ in self._unpacked(info):
                        pass
        except (
            zipfile.BadZipFile,
            zlib.error,
            EOFError,
            OSError,
            ValueError,
            expat.ExpatError,
            RuntimeError,
            NotImplementedError,
        ):
            raise BadRequest(
                "the text is no Word document that can be read",
                hint="a .docx file in base64, without a password",
                param="text",
            ) from None
        if "word/document.xml" not in self._parts:
            raise BadRequest("the text is no Word document", param="text")

    @property
    def paragraphs(self) -> Iterator[Paragraph]:
        """Those with words, the document's first; their stretches may be changed."""
        for _, found in sorted(self._parts.items(), key=lambda one: "document" not in one[0]):
            yield from found[1]

    def data(self) -> bytes:
        """The document with the words its paragraphs have now."""
        target = io.BytesIO()
        with zipfile.ZipFile(target, "w") as written:
            for info in self._package.infolist():
                # What is written to changes its description.
                described = copy.copy(info)
                if info.filename in self._parts:
                    written.writestr(
                        described, _changed(*self._parts[info.filename]), info.compress_type
                    )
                    continue
                with written.open(described, "w") as part:
                    for piece in self._unpacked(info):
                        part.write(piece)
        return target.getvalue()

    def _unpacked(self, info: zipfile.ZipInfo) -> Iterator[bytes]:
        """A part in pieces: read at once, all it holds is unpacked, whatever size it says."""
        if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            # Others unpack without bounds, and ECMA-376 allows none.
            raise NotImplementedError
        with self._package.open(info) as part:
            while piece := part.read(_PIECE_BYTES):
                yield piece


def _changed(part: bytes, paragraphs: Sequence[Paragraph]) -> bytes:
    """A part with new words; all of a stretch stand in its first element."""
    changes: list[tuple[int, int, str]] = []
    for paragraph in paragraphs:
        for stretch in paragraph.stretches:
            for number, (start, stop) in enumerate(stretch.spans):
                changes.append((start, stop, "" if number else stretch.words))
    told, at = [], 0
    for start, stop, words in sorted(changes):
        found = re.match(rb"<([\w.-]+:)?t\b", part[start:stop])
        name = f"{(found[1] or b'').decode()}t" if found else "w:t"
        told.append(part[at:start])
        told.append(f'<{name} xml:space="preserve">{escape(words)}</{name}>'.encode())
        at = stop
    return b"".join([*told, part[at:]])


class _Reader:
    """Finds the paragraphs of a part, and where the bytes of their words are."""

    def __init__(self, part: bytes) -> None:
        self.paragraphs: list[Paragraph] = []
        self._part = part
        # Of each paragraph that is open what is gathered: one may stand in another's text box.
        self._open: list[list[Stretch | None]] = []
        self._links = 0
        self._look = b""
        self._look_start = -1
        self._start = -1
        self._words: list[str] = []
        self._parser = expat.ParserCreate(namespace_separator=" ")
        self._parser.StartElementHandler = self._begin
        self._parser.EndElementHandler = self._end
        self._parser.CharacterDataHandler = self._text
        self._parser.StartDoctypeDeclHandler = self._refuse
        self._parser.XmlDeclHandler = self._check_encoding
        self._parser.Parse(part, True)

    def _refuse(self, *_: object) -> None:
        # Entities can grow without end, and no Word document has any.
        raise BadRequest("the document has a DTD", param="text")

    def _check_encoding(self, version: str, encoding: str | None, standalone: int) -> None:
        if (encoding or "utf-8").casefold() not in ("utf-8", "us-ascii"):
            raise BadRequest("the document is not in UTF-8", param="text")

    def _begin(self, name: str, attributes: dict[str, str]) -> None:
        match _local(name):
            case "p":
                self._open.append([])
            case "r":
                self._look = b""
            case "hyperlink":
                self._links += 1
            case "rPr":
                self._look_start = self._parser.CurrentByteIndex
            case "t" if self._open:
                self._start, self._words = self._parser.CurrentByteIndex, []
            case local if local in _BREAKS and self._open:
                self._open[-1].append(None)

    def _end(self, name: str) -> None:
        match _local(name):
            case "p" if self._open:
                self.paragraphs += _joined(self._open.pop())
            case "hyperlink":
                self._links += 1
            case "rPr" if self._look_start >= 0:
                self._look = self._part[self._look_start : self._parser.CurrentByteIndex]
                self._look_start = -1
            case "t" if self._start >= 0:
                stop = self._part.index(b">", self._start) + 1
                if self._part[stop - 2 : stop] != b"/>":
                    stop = self._part.index(b">", self._parser.CurrentByteIndex) + 1
                look = self._look + b"%d" % self._links
                words = "".join(self._words)
                self._open[-1].append(Stretch(look, words, [(self._start, stop)]))
                self._start = -1

    def _text(self, words: str) -> None:
        if self._start >= 0:
            self._words.append(words)


def _local(name: str) -> str:
    """An element's name where it is one of word processing, else nothing."""
    space, _, local = name.rpartition(" ")
    return local if _WORDS.fullmatch(space) else ""


def _joined(found: Sequence[Stretch | None]) -> Iterator[Paragraph]:
    """Paragraphs between breaks; stretches that look alike are one."""
    held: list[Stretch] = []
    for one in [*found, None]:
        if one is None:
            if held:
                yield Paragraph(held)
            held = []
        elif held and held[-1].look == one.look:
            held[-1].words += one.words
            held[-1].spans += one.spans
        else:
            held.append(one)
