"""Mails: the head, one of their bodies, and what is attached."""

from __future__ import annotations

from email.message import EmailMessage

import pytest

from tests.unit.documents.making import SAMPLES, make_msg
from tests.unit.documents.opened import opened


def mail(**head: str) -> EmailMessage:
    message = EmailMessage()
    for name, value in ({"From": "a@example.org", "Subject": "S"} | head).items():
        message[name] = value
    return message


def test_the_plain_body_is_taken_and_html_where_there_is_none():
    both = mail()
    both.set_content("plain words")
    both.add_alternative("<p>marked words</p>", subtype="html")
    assert opened("a.eml", both.as_bytes()).blocks[1].text == "plain words"
    only = mail()
    only.set_content(
        "<p>marked</p><p style='display:none'>hidden</p><img src='https://example.org/x'>",
        subtype="html",
    )
    read = opened("a.eml", only.as_bytes())
    assert [b.text for b in read.blocks[1:]] == ["marked"]
    assert read.warnings == ("hidden text was left out",)


def multipart(kind: str, *parts: bytes) -> bytes:
    mark = kind.encode() + b"%d" % len(b"".join(parts))
    head = b"Content-Type: multipart/" + kind.encode() + b"; boundary=" + mark + b"\r\n\r\n"
    return (
        head
        + b"".join(b"--" + mark + b"\r\n" + p + b"\r\n" for p in parts)
        + (b"--" + mark + b"--\r\n")
    )


PLAIN = b"Content-Type: text/plain\r\n\r\nplain"
MARKED = b"Content-Type: text/html\r\n\r\n<p>marked"
FOOT = b"Content-Type: text/plain\r\n\r\nfoot of the list"
EMPTY = b"Content-Type: text/plain\r\n\r\n \r\n"


@pytest.mark.parametrize(
    ("body", "read"),
    [
        (multipart("mixed", MARKED, FOOT), ["marked", "foot of the list"]),
        (multipart("mixed", FOOT, MARKED), ["foot of the list", "marked"]),
        (
            multipart("mixed", multipart("alternative", PLAIN, MARKED), FOOT),
            ["plain", "foot of the list"],
        ),
        (
            multipart("mixed", multipart("alternative", EMPTY, MARKED), FOOT),
            ["marked", "foot of the list"],
        ),
        (multipart("alternative", PLAIN, multipart("related", MARKED)), ["plain"]),
        (
            multipart("alternative", multipart("mixed", MARKED, FOOT)),
            ["marked", "foot of the list"],
        ),
        (multipart("alternative", PLAIN, multipart("mixed", MARKED, FOOT)), ["plain"]),
    ],
)
def test_only_of_alternatives_one_is_taken(body, read):
    found = opened("a.eml", b"From: a@example.org\r\nSubject: S\r\nMIME-Version: 1.0\r\n" + body)
    assert [b.text for b in found.blocks[1:]] == read
    assert not found.attachments


def test_the_head_is_decoded_and_gives_the_title():
    message = mail(Subject="Perché no", To="Bruno <b@example.org>", Date="Fri, 2 Jan 2026 10:00")
    message.set_content("x")
    read = opened("a.eml", message.as_bytes())
    assert read.title == "Perché no"
    assert read.blocks[0].text.split("\n")[-1] == "Subject: Perché no"


def test_attachments_are_read_and_those_that_cannot_be_are_warnings():
    message = mail()
    message.set_content("x")
    message.add_attachment(
        SAMPLES["docx"][1](), maintype="application", subtype="x", filename="../../etc/a.docx"
    )
    message.add_attachment(b"\0\1\2", maintype="application", subtype="x", filename="b.bin")
    message.add_attachment(mail(Subject="Inner"), filename="c.eml")
    read = opened("a.eml", message.as_bytes())
    assert [d.name for d in read.attachments] == ["a.docx", "c.eml"]
    assert read.attachments[1].title == "Inner"
    assert len(read.warnings) == 1 and read.warnings[0].startswith("b.bin: it is of no type")
    assert "Bologna" in read.whole_text


def test_a_body_in_old_letters_is_read():
    data = (
        b"From: a@example.org\r\nMIME-Version: 1.0\r\nSubject: =?iso-8859-1?Q?caff=E8?=\r\n"
        b"Content-Type: text/plain; charset=iso-8859-1\r\n\r\nperch\xe9 no\r\n"
    )
    read = opened("a.eml", data)
    assert read.title == "caffè" and read.blocks[-1].text == "perché no"


def test_a_body_in_letters_of_seven_bits_is_read():
    head = b"From: a@example.org\r\nSubject: S\r\nContent-Type: text/plain; charset=iso-2022-jp\r\n"
    read = opened("a.eml", head + b"\r\n" + "東京の家".encode("iso-2022-jp") + b"\r\n")
    assert read.blocks[-1].text == "東京の家"
    # What it says of itself is not so.
    read = opened("a.eml", head + b"\r\n" + "東京の家".encode() + b"\r\n")
    assert read.blocks[-1].text == "東京の家"


@pytest.mark.parametrize(
    "part",
    [
        b"Content-Type: text/plain\r\n\r\na\0b",
        # A mail within that the library reads and cannot write.
        b"Content-Type: message/rfc822\r\n\r\nFrom: a\r\nContent-Type: multipart/mixed\r\n\r\n\xff",
    ],
)
def test_a_part_that_cannot_be_read_costs_a_warning_and_not_the_mail(part):
    head = b"From: a@example.org\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n"
    good = b"Content-Type: text/plain\r\n\r\n"
    parts = (good + b"one", part, good + b"two")
    data = head + b"".join(b"--b\r\n" + p + b"\r\n" for p in parts) + b"--b--\r\n"
    read = opened("a.eml", data)
    assert [b.text for b in read.blocks[1:]] == ["one", "two"]
    assert read.warnings == ("a part of the mail: it cannot be read",)


@pytest.mark.parametrize(("plain", "warned"), [("words", False), ("", True)])
def test_a_body_of_outlook_that_is_no_text_costs_a_warning_and_not_the_mail(plain, warned):
    data = make_msg(body=plain, page=b"a\0b")
    read = opened("a.msg", data)
    assert [d.name for d in read.attachments] == ["rooms.csv"]
    assert [w.startswith("the body: ") for w in read.warnings] == [True] * warned


def test_mails_of_outlook_have_the_same_parts():
    name, make = SAMPLES["msg"]
    read = opened(name, make())
    assert read.blocks[0].text == "From: Ada\nTo: Bruno\nSubject: Dimora reads"
    assert [d.name for d in read.attachments] == ["rooms.csv"]
