"""Small real files of every type, made by the libraries that write them or byte by byte.

Each says "Dimora reads" in its title and has the words of `WORDS` in this order.
"""

from __future__ import annotations

import io
import json
import zipfile
import zlib
from collections.abc import Callable, Sequence
from email.message import EmailMessage
from itertools import pairwise

TITLE = "Dimora reads"
WORDS = (TITLE, "perché", "Bologna", "42")
WORD = "perché"


def sentence(word: str) -> str:
    return f"It knows {word} the house is quiet."


class PdfPage:
    """Writes lines of text, and rulings, on a page of A4."""

    def __init__(self) -> None:
        self._commands: list[str] = []
        self.picture = False

    def text(self, x: float, y: float, text: str, size: float = 11, bold: bool = False) -> None:
        shown = "".join(
            f"\\{ord(c):03o}" if not 31 < ord(c) < 127 or c in "()\\" else c for c in text
        )
        font = "F2" if bold else "F1"
        self._commands.append(f"BT /{font} {size} Tf {x} {y} Td ({shown}) Tj ET")

    def rule(self, x: float, y: float, to_x: float, to_y: float) -> None:
        self._commands.append(f"{x} {y} m {to_x} {to_y} l S")

    def box(self, x: float, y: float, width: float, height: float) -> None:
        self._commands.append(f"{x} {y} {width} {height} re S")

    def scan(self) -> None:
        """A picture over the whole page."""
        self.picture = True
        self._commands.append("q 595 0 0 842 0 0 cm /Im Do Q")

    def content(self) -> bytes:
        return zlib.compress("\n".join(self._commands).encode("latin-1"))


def pdf(
    pages: Sequence[PdfPage],
    *,
    outline: Sequence[tuple[str, int, int]] = (),
    trailer: str = "",
    extra: Sequence[bytes] = (),
    picture: tuple[int, int, bytes] = (8, 8, bytes([255] * 64)),
) -> bytes:
    """`outline` has titles, levels from 0, and pages from 0; `extra` are objects from 8 on."""
    objects: dict[int, bytes] = {}
    first = 8 + len(extra)
    kids = " ".join(f"{first + 2 * i} 0 R" for i in range(len(pages)))
    marks = first + 2 * len(pages)
    outlines = f"/Outlines {marks} 0 R" if outline else ""
    objects[1] = f"<< /Type /Catalog /Pages 2 0 R {outlines} >>".encode()
    objects[2] = f"<< /Type /Pages /Kids [{kids}] /Count {len(pages)} >>".encode()
    font = "<< /Type /Font /Subtype /Type1 /BaseFont /{} /Encoding /WinAnsiEncoding >>"
    objects[3] = font.format("Helvetica /ToUnicode 7 0 R").encode()
    objects[4] = font.format("Helvetica-Bold").encode()
    width, height, dots = picture
    packed = zlib.compress(dots)
    objects[5] = (
        (
            f"<< /Type /XObject /Subtype /Image /Width {width} /Height {height} /BitsPerComponent 8"
            f" /ColorSpace /DeviceGray /Filter /FlateDecode /Length {len(packed)} >>\nstream\n"
        ).encode()
        + packed
        + b"\nendstream"
    )
    objects[6] = b"<< /Title (Dimora reads) >>"
    objects[7] = _stream(_UNSEEN)
    for number, one in enumerate(extra, 8):
        objects[number] = one
    for i, page in enumerate(pages):
        content = page.content()
        images = "/XObject << /Im 5 0 R >>" if page.picture else ""
        objects[first + 2 * i] = (
            f"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Contents {first + 2 * i + 1}"
            f" 0 R /Resources << /Font << /F1 3 0 R /F2 4 0 R >> {images} >> >>"
        ).encode()
        objects[first + 2 * i + 1] = _stream(content, "/Filter /FlateDecode")
    objects |= _outline(outline, marks, first) if outline else {}
    return written_pdf(objects, trailer)


# Two codes of the font are characters that nobody sees: U+200B and U+E0041.
_UNSEEN = (
    b"/CIDInit /ProcSet findresource begin 12 dict begin begincmap /CMapName /U def\n"
    b"1 begincodespacerange <00> <FF> endcodespacerange\n"
    b"2 beginbfchar <01> <200B> <02> <DB40DC41> endbfchar endcmap end end"
)


def _stream(content: bytes, words: str = "") -> bytes:
    return f"<< {words} /Length {len(content)} >>\nstream\n".encode() + content + b"\nendstream"


def _outline(entries: Sequence[tuple[str, int, int]], root: int, first: int) -> dict[int, bytes]:
    """Top entries in a row; deeper ones below the one before them."""
    made: dict[int, bytes] = {}
    number = {i: root + 1 + i for i in range(len(entries))}

    def siblings(parent: int, level: int) -> list[int]:
        found = []
        for i in range(parent + 1, len(entries)):
            if entries[i][1] < level:
                break
            if entries[i][1] == level:
                found.append(i)
        return found

    def links(inside: list[int]) -> str:
        return f"/First {number[inside[0]]} 0 R /Last {number[inside[-1]]} 0 R" if inside else ""

    made[root] = f"<< /Type /Outlines {links(siblings(-1, 0))} >>".encode()
    for i, (title, level, page) in enumerate(entries):
        parent = max((j for j in range(i) if entries[j][1] < level), default=-1)
        row = siblings(parent, level)
        place = row.index(i)
        after = f"/Next {number[row[place + 1]]} 0 R" if place + 1 < len(row) else ""
        above = number[parent] if parent >= 0 else root
        made[number[i]] = (
            f"<< /Title ({title}) /Parent {above} 0 R {after} {links(siblings(i, level + 1))}"
            f" /Dest [{first + 2 * page} 0 R /Fit] >>"
        ).encode()
    return made


def written_pdf(objects: dict[int, bytes], trailer: str = "") -> bytes:
    whole = bytearray(b"%PDF-1.7\n")
    places = {}
    for number in sorted(objects):
        places[number] = len(whole)
        whole += f"{number} 0 obj\n".encode() + objects[number] + b"\nendobj\n"
    table = len(whole)
    size = max(objects) + 1
    whole += f"xref\n0 {size}\n0000000000 65535 f \n".encode()
    for number in range(1, size):
        place = places.get(number)
        whole += b"0000000000 65535 f \n" if place is None else f"{place:010} 00000 n \n".encode()
    whole += f"trailer\n<< /Size {size} /Root 1 0 R /Info 6 0 R {trailer} >>\n".encode()
    return bytes(whole + f"startxref\n{table}\n%%EOF\n".encode())


def ruled(page: PdfPage, left: float, top: float, rows: Sequence[Sequence[str]]) -> None:
    """A table with all of its lines, cells 100 wide and 20 high."""
    right, bottom = left + 100 * len(rows[0]), top - 20 * len(rows)
    for i in range(len(rows) + 1):
        page.rule(left, top - 20 * i, right, top - 20 * i)
    for i in range(len(rows[0]) + 1):
        page.rule(left + 100 * i, top, left + 100 * i, bottom)
    for i, row in enumerate(rows):
        for j, cell in enumerate(row):
            page.text(left + 100 * j + 4, top - 20 * i - 14, cell)


def make_pdf(word: str = WORD) -> bytes:
    page = PdfPage()
    page.text(60, 780, TITLE, 20, bold=True)
    page.text(60, 740, sentence(word).replace("\u200b", "\x01").replace("\U000e0041", "\x02"))
    ruled(page, 60, 700, [["city", "rooms"], ["Bologna", "42"]])
    return pdf([page])


def make_docx(word: str = WORD) -> bytes:
    import docx

    document = docx.Document()
    document.core_properties.title = TITLE
    document.add_heading(TITLE, level=1)
    document.add_paragraph(sentence(word))
    document.add_paragraph("an item", style="List Bullet")
    table = document.add_table(rows=2, cols=2)
    for row, cells in zip(table.rows, [["city", "rooms"], ["Bologna", "42"]], strict=True):
        for cell, text in zip(row.cells, cells, strict=True):
            cell.text = text
    return _saved(document.save)


def make_pptx(word: str = WORD) -> bytes:
    from pptx import Presentation
    from pptx.util import Inches

    presentation = Presentation()
    slide = presentation.slides.add_slide(presentation.slide_layouts[1])
    slide.shapes.title.text = TITLE
    slide.placeholders[1].text_frame.text = sentence(word)
    slide.placeholders[1].text_frame.add_paragraph().text = "a second point"
    shape = slide.shapes.add_table(2, 2, Inches(1), Inches(4), Inches(4), Inches(1))
    for i, row in enumerate([["city", "rooms"], ["Bologna", "42"]]):
        for j, text in enumerate(row):
            shape.table.cell(i, j).text = text
    slide.notes_slide.notes_text_frame.text = "said aloud"
    return _saved(presentation.save)


def make_xlsx(word: str = WORD) -> bytes:
    import xlsxwriter

    whole = io.BytesIO()
    book = xlsxwriter.Workbook(whole, {"in_memory": True})
    sheet = book.add_worksheet("Case")
    sheet.write_row(0, 0, [TITLE, word])
    sheet.write_row(1, 0, ["Bologna", 42])
    sheet.write_row(2, 0, ["half", 0.5])
    book.close()
    return whole.getvalue()


def make_odt(word: str = WORD) -> bytes:
    office = "urn:oasis:names:tc:opendocument:xmlns"
    content = (
        f'<office:document-content xmlns:office="{office}:office:1.0"'
        f' xmlns:text="{office}:text:1.0" xmlns:table="{office}:table:1.0">'
        "<office:body><office:text>"
        f'<text:h text:outline-level="1">{TITLE}</text:h><text:p>{sentence(word)}</text:p>'
        "<text:list><text:list-item><text:p>an item</text:p></text:list-item></text:list>"
        "<table:table><table:table-row><table:table-cell><text:p>city</text:p></table:table-cell>"
        "<table:table-cell><text:p>rooms</text:p></table:table-cell></table:table-row>"
        "<table:table-row><table:table-cell><text:p>Bologna</text:p></table:table-cell>"
        "<table:table-cell><text:p>42</text:p></table:table-cell></table:table-row></table:table>"
        "</office:text></office:body></office:document-content>"
    )
    return packed({"mimetype": b"application/vnd.oasis.opendocument.text", "content.xml": content})


def make_epub(word: str = WORD) -> bytes:
    container = (
        '<container xmlns="urn:oasis:names:tc:opendocument:xmlns:container"><rootfiles>'
        '<rootfile full-path="OEBPS/book.opf"/></rootfiles></container>'
    )
    book = (
        '<package xmlns="http://www.idpf.org/2007/opf" xmlns:dc="http://purl.org/dc/elements/1.1/">'
        f"<metadata><dc:title>{TITLE}</dc:title></metadata><manifest>"
        '<item id="b" href="two.xhtml" media-type="application/xhtml+xml"/>'
        '<item id="a" href="ch%201.xhtml" media-type="application/xhtml+xml"/></manifest>'
        '<spine><itemref idref="a"/><itemref idref="b"/></spine></package>'
    )
    first = f"<html><body><h1>{TITLE}</h1><p>{sentence(word)}</p></body></html>"
    second = "<html><body><p>In Bologna there are 42.</p></body></html>"
    return packed(
        {
            "mimetype": b"application/epub+zip",
            "META-INF/container.xml": container,
            "OEBPS/book.opf": book,
            "OEBPS/ch 1.xhtml": first,
            "OEBPS/two.xhtml": second,
        }
    )


def make_html(word: str = WORD) -> bytes:
    return (
        f"<!doctype html><html><head><title>{TITLE}</title><meta charset=utf-8></head><body>"
        f"<h1>{TITLE}</h1><p>{sentence(word)}</p><ul><li>an item</li></ul>"
        "<table><tr><th>city<th>rooms<tr><td>Bologna<td>42</table></body></html>"
    ).encode()


def make_eml(word: str = WORD) -> bytes:
    message = EmailMessage()
    message["From"] = "Ada <ada@example.org>"
    message["To"] = "Bruno <bruno@example.org>"
    message["Subject"] = TITLE
    message["Message-ID"] = "<1@example.org>"
    message.set_content(sentence(word))
    table = b"city;rooms\nBologna;42\n"
    message.add_attachment(table, maintype="text", subtype="csv", filename="rooms.csv")
    return message.as_bytes()


def make_msg(word: str = WORD, *, body: str | None = None, page: bytes = b"") -> bytes:
    """`body` instead of the sentence; `page` is one of HTML."""
    texts = {
        0x0037: TITLE,
        0x001A: "IPM.Note",
        0x0C1A: "Ada",
        0x0E04: "Bruno",
        0x1000: sentence(word) if body is None else body,
    }
    attached = {0x3707: "rooms.csv"}
    content = b"city;rooms\nBologna;42\n"
    return compound(
        {
            **_properties(
                texts,
                header=bytes(8) + _longs(0, 1, 0, 1) + bytes(8),
                binary={0x1013: page} if page else None,
            ),
            "__nameid_version1.0/__substg1.0_00020102": b"",
            **{
                f"__attach_version1.0_#00000000/{name}": data
                for name, data in _properties(
                    attached, header=bytes(8), numbers={0x3705: 1}, binary={0x3701: content}
                ).items()
            },
        }
    )


def _properties(
    texts: dict[int, str],
    *,
    header: bytes,
    numbers: dict[int, int] | None = None,
    binary: dict[int, bytes] | None = None,
) -> dict[str, bytes]:
    """Streams of a message or attachment, [MS-OXMSG] 2.4."""
    table = bytearray(header)
    streams = {}
    for id_, text in texts.items():
        data = text.encode("utf-16-le")
        table += _longs(id_ << 16 | 0x001F, 6, len(data) + 2, 0)
        streams[f"__substg1.0_{id_:04X}001F"] = data
    for id_, data in (binary or {}).items():
        table += _longs(id_ << 16 | 0x0102, 6, len(data), 0)
        streams[f"__substg1.0_{id_:04X}0102"] = data
    for id_, number in (numbers or {}).items():
        table += _longs(id_ << 16 | 0x0003, 6, number, 0)
    return {"__properties_version1.0": bytes(table), **streams}


def make_markdown(word: str = WORD) -> bytes:
    return (
        f"# {TITLE}\n\n{sentence(word)}\n\n- an item\n\n"
        "| city | rooms |\n|---|--:|\n| Bologna | 42 |\n"
    ).encode()


def make_text(word: str = WORD) -> bytes:
    return f"{TITLE}\n\n{sentence(word)}\n\nBologna 42\n".encode()


def make_csv(word: str = WORD) -> bytes:
    return f"{TITLE};{word}\nBologna;42\n".encode()


def make_json(word: str = WORD) -> bytes:
    return json.dumps([{TITLE: word}, {TITLE: "Bologna", "n": 42}], ensure_ascii=False).encode()


def make_code(word: str = WORD) -> bytes:
    return (
        f'"""{TITLE}: {word}."""\n\nimport os\n\n\ndef city():\n    return "Bologna"\n\n\n'
        "class Rooms:\n    number = 42\n"
    ).encode()


def make_image(word: str = "perche") -> bytes:
    from PIL import Image, ImageDraw, ImageFont

    picture = Image.new("RGB", (560, 160), "white")
    font = ImageFont.load_default(24)
    ImageDraw.Draw(picture).text((20, 60), f"{TITLE} {word} Bologna 42", "black", font=font)
    whole = io.BytesIO()
    picture.save(whole, "PNG")
    return whole.getvalue()


SAMPLES: dict[str, tuple[str, Callable[..., bytes]]] = {
    "code": ("a.py", make_code),
    "csv": ("a.csv", make_csv),
    "docx": ("a.docx", make_docx),
    "eml": ("a.eml", make_eml),
    "epub": ("a.epub", make_epub),
    "html": ("a.html", make_html),
    "image": ("a.png", make_image),
    "json": ("a.json", make_json),
    "markdown": ("a.md", make_markdown),
    "msg": ("a.msg", make_msg),
    "odt": ("a.odt", make_odt),
    "pdf": ("a.pdf", make_pdf),
    "pptx": ("a.pptx", make_pptx),
    "text": ("a.txt", make_text),
    "xlsx": ("a.xlsx", make_xlsx),
}


def packed(parts: dict[str, str | bytes]) -> bytes:
    """A zip archive of these parts; the first is stored as it is."""
    whole = io.BytesIO()
    with zipfile.ZipFile(whole, "w", zipfile.ZIP_DEFLATED) as archive:
        for number, (name, data) in enumerate(parts.items()):
            stored = zipfile.ZIP_DEFLATED if number else zipfile.ZIP_STORED
            archive.writestr(zipfile.ZipInfo(name), data, stored)
    return whole.getvalue()


def _saved(save: Callable[[io.BytesIO], None]) -> bytes:
    whole = io.BytesIO()
    save(whole)
    return whole.getvalue()


_SECTOR = 512
_MINI = 64
_END, _FREE, _FAT = 0xFFFFFFFE, 0xFFFFFFFF, 0xFFFFFFFD


def _longs(*values: int) -> bytes:
    return b"".join(value.to_bytes(4, "little") for value in values)


def compound(streams: dict[str, bytes]) -> bytes:
    """A compound file with these streams, folders by `/`; [MS-CFB], version 3."""
    entries: list[dict] = [{"name": "Root Entry", "type": 5, "inside": {}, "data": b""}]
    for path, data in streams.items():
        at = 0
        *folders, last = path.split("/")
        for folder in folders:
            inside = entries[at]["inside"]
            if folder not in inside:
                entries.append({"name": folder, "type": 1, "inside": {}, "data": b""})
                inside[folder] = len(entries) - 1
            at = inside[folder]
        entries.append({"name": last, "type": 2, "inside": {}, "data": data})
        entries[at]["inside"][last] = len(entries) - 1
    mini, mini_table = bytearray(), []
    for entry in entries:
        if entry["type"] == 2 and len(entry["data"]) < 4096:
            entry["start"] = _chain(mini, mini_table, entry["data"], _MINI)
    entries[0]["data"] = bytes(mini)
    table: list[int] = []
    body = bytearray()
    directory_sectors = -(-len(entries) * 128 // _SECTOR)
    directory = _chain(body, table, bytes(directory_sectors * _SECTOR), _SECTOR)
    for entry in entries:
        if entry["type"] == 5 or len(entry["data"]) >= 4096:
            entry["start"] = _chain(body, table, entry["data"], _SECTOR)
    packed_mini = _longs(*mini_table)
    mini_start = _chain(body, table, packed_mini, _SECTOR, filler=b"\xff")
    body[: directory_sectors * _SECTOR] = _directory(entries, directory_sectors * 4)
    count = 1
    while count * 128 < len(table) + count:
        count += 1
    fat_at = len(table)
    table += [_FAT] * count
    body += _longs(*table, *[_FREE] * (count * 128 - len(table)))
    header = (
        b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
        + bytes(16)
        + b"\x3e\0\x03\0\xfe\xff\x09\0\x06\0"
        + bytes(6)
        + _longs(0, count, directory, 0, 4096, mini_start, -(-len(packed_mini) // _SECTOR), _END, 0)
        + _longs(*range(fat_at, fat_at + count), *[_FREE] * (109 - count))
    )
    return bytes(header + body)


def _chain(body: bytearray, table: list[int], data: bytes, unit: int, filler: bytes = b"\0") -> int:
    """Append `data` in units that follow each other; where they begin."""
    if not data:
        return _END
    first, count = len(table), -(-len(data) // unit)
    body += data + filler * (count * unit - len(data))
    table += [*range(first + 1, first + count), _END]
    return first


def _directory(entries: list[dict], room: int) -> bytes:
    """Names in one folder hang on each other's right side."""
    for entry in entries:
        row = sorted(entry["inside"].items(), key=lambda one: (len(one[0]), one[0].upper()))
        entry["child"] = row[0][1] if row else _FREE
        for (_, here), (_, after) in pairwise(row):
            entries[here]["right"] = after
    written = bytearray()
    for entry in entries:
        name = entry["name"].encode("utf-16-le")
        written += name + bytes(64 - len(name)) + (len(name) + 2).to_bytes(2, "little")
        written += bytes([entry["type"], 1])
        written += _longs(_FREE, entry.get("right", _FREE), entry["child"]) + bytes(36)
        written += _longs(entry.get("start", 0), len(entry["data"]), 0)
    return bytes(written + bytes(room * 128 - len(written)))
