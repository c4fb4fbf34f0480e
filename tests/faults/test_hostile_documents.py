"""Documents that were made to do harm, and a reading process that is harmed: a named error for
that file, and the next one is read."""

from __future__ import annotations

import asyncio
import contextlib
import io
import os
import signal
import subprocess
import sys
import time
import zipfile
from email.message import EmailMessage
from pathlib import Path

import psutil
import pytest

from dimora.core.errors import BadRequest
from dimora.documents.base import Document
from dimora.documents.limits import ReadingLimits
from dimora.documents.reading import Reader
from tests.unit.documents import making
from tests.unit.documents.making import SAMPLES, PdfPage, compound, packed, pdf, written_pdf

LINUX = pytest.mark.skipif(sys.platform != "linux", reason="the kernel's part is Linux")
SMALL = ReadingLimits(seconds=20, unpacked_bytes=20 << 20, pages=50)
ENTITIES = "".join(f'<!ENTITY e{i + 1} "{f"&e{i};" * 10}">' for i in range(9))
LAUGHS = f'<?xml version="1.0"?><!DOCTYPE x [<!ENTITY e0 "ha ha ha ha">{ENTITIES}]>'
CANARY = "the canary sings"


@pytest.fixture
async def reader():
    async with Reader(SMALL) as one:
        yield one


async def refused(reader: Reader, name: str, data: bytes) -> str:
    """The code; and after it a good file is read."""
    with pytest.raises(BadRequest) as caught:
        await reader.read(name, data)
    assert CANARY not in caught.value.text
    await still_reads(reader)
    return caught.value.code


async def still_reads(reader: Reader) -> None:
    document = await reader.read("good.html", b"<!doctype html><p>good")
    assert document.text == "good"


def replaced(data: bytes, part: str, content: bytes | str) -> bytes:
    """An archive with another content of one part."""
    source = zipfile.ZipFile(io.BytesIO(data))
    parts: dict[str, bytes | str] = {name: source.read(name) for name in source.namelist()}
    return packed(parts | {part: content})


def bomb() -> bytes:
    """A Word document with 50 MiB of nothing in it."""
    return replaced(SAMPLES["docx"][1](), "word/media/nothing.bin", bytes(50 << 20))


def lying_bomb() -> bytes:
    """One that says that it is small."""
    data = bytearray(replaced(SAMPLES["odt"][1](), "content.xml", b" " * (30 << 20)))
    size = (30 << 20).to_bytes(4, "little")
    while (place := data.find(size)) >= 0:
        data[place : place + 4] = (1000).to_bytes(4, "little")
    return bytes(data)


def mail_with(name: str, data: bytes) -> bytes:
    message = EmailMessage()
    message["From"] = "a@example.org"
    message["Subject"] = f"about {name}"
    message["Message-ID"] = "<2@example.org>"
    message.set_content("see the file")
    message.add_attachment(data, maintype="application", subtype="octet-stream", filename=name)
    return message.as_bytes()


async def test_a_zip_bomb_is_refused_before_it_is_unpacked(reader):
    assert await refused(reader, "a.docx", bomb()) == "document_too_large"


async def test_an_archive_that_lies_about_its_size_is_broken(reader):
    assert await refused(reader, "a.odt", lying_bomb()) == "unreadable_document"


async def test_a_bomb_within_a_mail_costs_the_attachment_only(reader):
    document = await reader.read("a.eml", mail_with("b.eml", mail_with("bomb.docx", bomb())))
    assert "see the file" in document.text
    (inner,) = document.attachments
    assert "see the file" in inner.text and inner.attachments == ()
    assert "bomb.docx: it is too large" in inner.warnings[0]
    await still_reads(reader)


async def test_mails_within_mails_end_at_the_depth_that_is_set(reader):
    data = b"plain"
    for _ in range(10):
        data = mail_with("inner.eml", data)
    document = await reader.read("a.eml", data)
    depth = 0
    while document.attachments:
        (document,) = document.attachments
        depth += 1
    assert depth == SMALL.depth
    assert "nested too deeply" in document.warnings[0]


async def test_more_files_in_a_mail_than_the_budget_unpacks_are_left_out():
    message = EmailMessage()
    message["From"] = "a@example.org"
    message.set_content("many")
    for number in range(6):
        content = b"x" * (6 << 18)
        message.add_attachment(content, maintype="text", subtype="plain", filename=f"{number}.txt")
    async with Reader(ReadingLimits(unpacked_bytes=5 << 20)) as reader:
        document = await reader.read("a.eml", message.as_bytes())
    assert 0 < len(document.attachments) < 6
    assert len(document.warnings) == 6 - len(document.attachments)


async def test_a_pdf_of_ten_thousand_pages_is_refused_at_once(reader):
    data = pdf([PdfPage()] * 10_000)
    await still_reads(reader)
    started = time.monotonic()
    with pytest.raises(BadRequest) as caught:
        await reader.read("a.pdf", data)
    assert caught.value.code == "document_too_large"
    assert time.monotonic() - started < 10
    assert "10000 pages" in caught.value.message


async def test_a_pdf_that_says_it_has_more_pages_than_there_are_is_read_as_it_is(reader):
    objects = {
        1: b"<< /Type /Catalog /Pages 2 0 R >>",
        2: b"<< /Type /Pages /Kids [3 0 R] /Count 2000000000 >>",
        3: b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 9 9] >>",
    }
    assert (await reader.read("a.pdf", written_pdf(objects))).pages == 1


async def test_page_trees_and_outlines_that_go_round_come_to_an_end(reader):
    tree = {
        1: b"<< /Type /Catalog /Pages 2 0 R >>",
        2: b"<< /Type /Pages /Kids [3 0 R 2 0 R] /Count 4 >>",
        3: b"<< /Type /Pages /Kids [2 0 R 3 0 R] /Count 2 /Parent 2 0 R >>",
    }
    assert await refused(reader, "a.pdf", written_pdf(tree)) == "unreadable_document"
    page = PdfPage()
    page.text(60, 700, "Round and round")
    good = pdf([page], outline=[("First", 0, 0), ("Second", 0, 0)])
    number = good.split(b"/Next ")[1].split()[0]
    here = str(int(number) - 1).encode()
    round_ = good.replace(b"/Next " + number, b"/Next " + here)
    assert (await reader.read("a.pdf", round_)).text == "Round and round"


async def test_a_form_that_draws_itself_comes_to_an_end(reader):
    form = (
        b"<< /Type /XObject /Subtype /Form /BBox [0 0 9 9] /Resources << /XObject << /Im 5 0 R >>"
        b" >> /Length 6 >>\nstream\n/Im Do\nendstream"
    )
    page = PdfPage()
    page.scan()
    data = pdf([page])
    begin = data.index(b"5 0 obj\n") + 8
    data = data[:begin] + form + data[data.index(b"\nendobj", begin) :]
    with contextlib.suppress(BadRequest):
        await reader.read("a.pdf", data)
    await still_reads(reader)


async def test_compound_files_whose_sectors_go_round_are_broken(reader):
    good = making.make_msg()
    sectors = len(good) // 512 - 1
    table = 512 * sectors
    loops = bytearray(good)
    for sector in range(sectors - 1):
        loops[table + 4 * sector : table + 4 * sector + 4] = sector.to_bytes(4, "little")
    await refused(reader, "a.msg", bytes(loops))
    # The first entry of the directory is its own child, and everybody's neighbour.
    folders = bytearray(good)
    for entry in range(512, 512 + 128 * 8, 128):
        folders[entry + 68 : entry + 80] = (0).to_bytes(4, "little") * 3
    with contextlib.suppress(BadRequest):
        await reader.read("a.msg", bytes(folders))
    await still_reads(reader)


async def test_files_with_a_password_say_so(reader):
    seal = (
        "/Encrypt << /Filter /Standard /V 1 /R 2 /P -4"
        f" /O <{'41' * 32}> /U <{'42' * 32}> >> /ID [<00> <00>]"
    )
    assert await refused(reader, "a.pdf", pdf([PdfPage()], trailer=seal)) == "document_sealed"
    office = compound({"EncryptionInfo": bytes(100), "EncryptedPackage": bytes(9000)})
    for name in ("a.xlsx", "a.docx", "a.pptx"):
        assert await refused(reader, name, office) == "document_sealed"
    manifest = "<manifest><file-entry><encryption-data/></file-entry></manifest>"
    odt = replaced(SAMPLES["odt"][1](), "META-INF/manifest.xml", manifest)
    assert await refused(reader, "a.odt", odt) == "document_sealed"
    sealed_zip = bytearray(SAMPLES["docx"][1]())
    place = 0
    while (place := sealed_zip.find(b"PK\1\2", place)) >= 0:
        sealed_zip[place + 8] |= 1
        place += 4
    assert await refused(reader, "a.docx", bytes(sealed_zip)) == "document_sealed"


BODIES = {
    "docx": ("word/document.xml", "w:document", "w:t"),
    "odt": ("content.xml", "office:document-content", "text:p"),
    "pptx": ("ppt/slides/slide1.xml", "p:sld", "a:t"),
    "xlsx": ("xl/sharedStrings.xml", "sst", "t"),
    "epub": ("OEBPS/book.opf", "package", "dc:title"),
}


@pytest.mark.parametrize("kind", BODIES)
async def test_entities_are_not_followed_whatever_they_lead_to(reader, kind, tmp_path: Path):
    secret = tmp_path / "secret"
    secret.write_text(CANARY)
    part, root, element = BODIES[kind]
    name, make = SAMPLES[kind]
    good = make()
    text = zipfile.ZipFile(io.BytesIO(good)).read(part).decode()
    begin = text.index(f"<{root}")
    place = text.index(">", text.index(f"<{element}", begin)) + 1
    for declared, entity in (
        (LAUGHS, "&e9;"),
        (f'<!DOCTYPE x [<!ENTITY e SYSTEM "file://{secret}">]>', "&e;"),
        ('<!DOCTYPE x SYSTEM "http://127.0.0.1:9/x.dtd" [<!ENTITY e "y">]>', "&e;"),
    ):
        hostile = declared.removeprefix('<?xml version="1.0"?>')
        hostile += text[begin:place] + entity + text[place:]
        data = replaced(good, part, hostile)
        try:
            document = await reader.read(name, data)
        except BadRequest as why:
            assert why.code == "unreadable_document"
            continue
        assert CANARY not in document.whole_text
        assert "ha ha" not in document.whole_text
    await still_reads(reader)


async def test_what_is_nested_without_end_is_read_or_refused(reader):
    deep = {
        "a.html": b"<!doctype html>" + b"<div>" * 10_000 + b"below",
        "b.html": b"<!doctype html>" + b"<table><tr><td>" * 2_000 + b"below",
        "a.json": b"[" * 200_000,
        "b.json": b'{"a":' * 100_000,
        "a.md": b"> " * 100_000 + b"- " * 100_000,
        "a.py": b"(" * 200_000,
        "a.csv": b";" * 200_000 + b"\n" + b"a;b\n" * 2000,
        "a.odt": replaced(SAMPLES["odt"][1](), "content.xml", "<a>" * 50_000 + "</a>" * 50_000),
    }
    for name, data in deep.items():
        try:
            assert isinstance(await reader.read(name, data), Document)
        except BadRequest as why:
            assert why.code in ("unreadable_document", "document_too_large"), name
    await still_reads(reader)


async def test_a_file_above_the_limit_never_reaches_the_process():
    async with Reader(ReadingLimits(file_bytes=1000)) as reader:
        with pytest.raises(BadRequest) as caught:
            await reader.read("a.txt", b"x" * 1001)
        assert caught.value.code == "document_too_large"
        assert reader.pid == 0


def slow_pdf() -> bytes:
    """Hundreds of pages with thousands of words each."""
    page = PdfPage()
    for line in range(70):
        page.text(20, 820 - line * 11, "word " * 30, 6)
    return pdf([page] * 900)


async def test_a_reader_that_is_killed_costs_the_file_it_read():
    async with Reader() as reader:
        await still_reads(reader)
        before = reader.pid
        reading = asyncio.ensure_future(reader.read("a.pdf", slow_pdf()))
        await asyncio.sleep(0.3)
        assert not reading.done()
        os.kill(before, signal.SIGKILL)
        with pytest.raises(BadRequest) as caught:
            await reading
        assert caught.value.code == "unreadable_document"
        await still_reads(reader)
        assert reader.pid != before


async def test_a_reader_that_hangs_is_ended_at_its_time():
    async with Reader(ReadingLimits(seconds=1.0)) as reader:
        await still_reads(reader)
        before = reader.pid
        os.kill(before, signal.SIGSTOP)
        started = time.monotonic()
        with pytest.raises(BadRequest) as caught:
            await reader.read("a.txt", b"anything")
        assert caught.value.code == "document_took_too_long"
        assert time.monotonic() - started < 5
        assert not psutil.pid_exists(before)
        await still_reads(reader)


async def test_a_file_that_takes_too_long_is_given_up():
    async with Reader(ReadingLimits(seconds=0.5)) as reader:
        await still_reads(reader)
        assert await refused(reader, "a.pdf", slow_pdf()) == "document_took_too_long"


@LINUX
async def test_a_file_that_eats_memory_is_refused_within_the_limit():
    async with Reader(ReadingLimits(memory_bytes=400 << 20, seconds=60)) as reader:
        await still_reads(reader)
        page = b"<!doctype html>" + b"<p><b>x</b></p>" * 2_000_000
        code = await refused(reader, "a.html", page)
        assert code in ("document_too_large", "unreadable_document")


async def test_whoever_stops_waiting_leaves_no_process_in_the_middle_of_a_file():
    async with Reader() as reader:
        await still_reads(reader)
        before = reader.pid
        reading = asyncio.ensure_future(reader.read("a.pdf", slow_pdf()))
        await asyncio.sleep(0.2)
        reading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reading
        assert not psutil.pid_exists(before)
        await still_reads(reader)


async def test_two_who_ask_at_once_are_answered_in_their_turn(reader):
    files = [reader.read(f"{i}.txt", b"text %d" % i) for i in range(20)]
    assert [d.text for d in await asyncio.gather(*files)] == [f"text {i}" for i in range(20)]


async def test_leaving_ends_the_process():
    async with Reader() as reader:
        await still_reads(reader)
        pid = reader.pid
        assert psutil.pid_exists(pid)
    assert not psutil.pid_exists(pid)


@LINUX
def test_a_reader_does_not_outlive_its_parent():
    program = (
        "import asyncio\nfrom dimora.documents.reading import Reader\n"
        "async def main():\n    reader = Reader()\n    await reader.read('a.txt', b'x')\n"
        "    print(reader.pid, flush=True)\n    await asyncio.sleep(60)\nasyncio.run(main())"
    )
    parent = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    pid = int(parent.stdout.readline())
    parent.kill()
    parent.wait()
    parent.stdout.close()
    deadline = time.monotonic() + 5
    while psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < deadline
        time.sleep(0.02)


PROGRAM = """
import ctypes, errno, os, socket, subprocess, sys
from dimora.core.confinement import confine
ours, theirs = socket.socketpair()
libc = ctypes.CDLL(None, use_errno=True)
confine(memory_bytes=512 << 20, open_files=32)
def told(work):
    try:
        work()
    except (OSError, MemoryError) as why:
        return type(why).__name__
    return "done"
print(told(lambda: socket.socket()), told(lambda: subprocess.run(["true"])),
      told(lambda: open(sys.argv[1], "w").write("x" * 100_000)), told(lambda: bytes(900 << 20)),
      told(lambda: ours.sendall(b"x")), told(lambda: [open("/dev/null") for _ in range(64)]))
print(libc.socket(2, 1, 0), ctypes.get_errno() == errno.EPERM)
"""


@LINUX
def test_a_confined_process_reaches_no_network_program_file_or_memory(tmp_path: Path):
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(tmp_path / "x")], capture_output=True, text=True
    )
    first, second = done.stdout.splitlines()
    assert first.split() == [
        "PermissionError",
        "PermissionError",
        "OSError",
        "MemoryError",
        "done",
        "OSError",
    ], done.stderr
    assert second == "-1 True"
