"""The OCI language: what its paths, ranges and pages mean, and the bytes it answers."""

from __future__ import annotations

import json

import pytest

from dimora.core.errors import (
    BadRequest,
    Forbidden,
    InvalidModel,
    NotAuthenticated,
    NotFound,
    Overloaded,
)
from dimora.dialects import oci
from dimora.dialects.base import Incoming
from dimora.tasks.base import ManifestFile, ModelDetails, ModelSummary
from dimora.tasks.list_models import ModelsFound
from dimora.tasks.list_tags import TagsFound
from dimora.tasks.read_blob import BlobOpened, BlobPiece, Part, ReadBlob
from dimora.tasks.read_manifest import ManifestFound, ReadManifest

DIGEST = "sha256:" + "ab" * 32


def incoming(method="GET", query=None, headers=None, **path) -> Incoming:
    return Incoming(method=method, path=path, query=query or {}, headers=headers or {})


def blob(method="GET", **headers):
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    return oci.decode_blob(incoming(method, headers=names, name="a/b", digest=DIGEST))


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("bytes=0-0", Part(first=0, last=0)),
        ("bytes=5-", Part(first=5)),
        ("bytes=5-9", Part(first=5, last=9)),
        ("bytes=-9", Part(last=9)),
        ("bytes=-0", Part(last=0)),
    ],
)
def test_one_range_is_a_part(text, part):
    asked = blob(range=text)
    assert asked.request == ReadBlob(model="a/b", digest=DIGEST, part=part)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "bytes=-",
        "bytes=9-5",
        "bytes=0-1,3-4",
        "bytes=0-1, bytes=3-4",
        "bytes= 0-1",
        "bytes=0x1-2",
        "bytes=+1-2",
        "bytes=١-٢",
        "bytes=" + "9" * 5000 + "-",
        "lines=0-1",
        "0-1",
    ],
)
def test_a_range_that_is_none_or_many_asks_for_everything(text):
    asked = blob(range=text)
    assert asked.request == ReadBlob(model="a/b", digest=DIGEST)
    found = BlobOpened(digest=DIGEST, size_bytes=7, start=0, end=7)
    assert asked.answer.opening(found).status == 200


def test_head_asks_for_facts_and_knows_no_range():
    asked = blob("HEAD", range="bytes=0-1")
    assert asked.request == ReadBlob(model="a/b", digest=DIGEST, only_facts=True)


def test_a_range_of_another_version_asks_for_everything():
    assert blob(range="bytes=1-", if_range=f'"{DIGEST}"').request.part == Part(first=1)
    assert blob(range="bytes=1-", if_range='"other"').request.part is None
    assert blob(range="bytes=1-", if_range="Wed, 21 Oct 2015 07:28:00 GMT").request.part is None


def test_a_part_of_a_blob_says_which_and_how_long():
    answer = blob(range="bytes=2-4").answer
    opening = answer.opening(BlobOpened(digest=DIGEST, size_bytes=9, start=2, end=5))
    assert (opening.status, opening.length_bytes) == (206, 3)
    assert dict(opening.headers) == {
        "Docker-Content-Digest": DIGEST,
        "ETag": f'"{DIGEST}"',
        "Accept-Ranges": "bytes",
        "Content-Range": "bytes 2-4/9",
    }
    assert answer.frame(BlobPiece(data=b"abc")) == b"abc"


def test_a_part_outside_of_a_blob_is_not_satisfiable():
    answer = blob(range="bytes=9-").answer
    found = BlobOpened(digest=DIGEST, size_bytes=9, start=0, end=0, outside=True)
    opening = answer.opening(found)
    assert (opening.status, opening.length_bytes) == (416, 0)
    assert dict(opening.headers)["Content-Range"] == "bytes */9"


def manifest(media_type: str) -> ManifestFound:
    found = ManifestFile(name="m:latest", digest=DIGEST, media_type=media_type, data=b'{"a": 1}')
    return ManifestFound(manifest=found)


def test_a_manifest_goes_out_as_it_is_under_its_own_type():
    asked = oci.decode_manifest(incoming(name="a/b", reference="latest"))
    assert asked.request == ReadManifest(model="a/b", reference="latest")
    found = manifest("application/vnd.oci.image.manifest.v1+json")
    opening = asked.answer.opening(found)
    assert opening.media_type == "application/vnd.oci.image.manifest.v1+json"
    assert opening.length_bytes == 8
    assert ("Docker-Content-Digest", DIGEST) in opening.headers
    assert asked.answer.frame(found) == b'{"a": 1}'


@pytest.mark.parametrize("media_type", ["", "x", "a/b\r\nx: y", "text/html; charset=x", "é/b"])
def test_a_media_type_that_is_none_does_not_get_into_a_header(media_type):
    asked = oci.decode_manifest(incoming(name="a/b", reference="latest"))
    opening = asked.answer.opening(manifest(media_type))
    assert opening.media_type == "application/vnd.docker.distribution.manifest.v2+json"


def pages(decode, event, size, **path):
    """What a client gets that follows the links."""
    gathered, links, query = [], 0, {"n": str(size)}
    while True:
        asked = decode(incoming(query=query, **path))
        told = json.loads(asked.answer.whole([event]))
        gathered.append(told.get("tags", told.get("repositories")))
        link = dict(asked.answer.opening(event).headers).get("Link")
        if link is None:
            return gathered
        links += 1
        assert links < 20
        assert link.endswith('; rel="next"')
        query = dict(
            pair.split("=") for pair in link[1:].partition(">")[0].split("?")[1].split("&")
        )


def test_tags_come_in_pages():
    event = TagsFound(tags=("a", "b", "c", "d", "e"))
    assert pages(oci.decode_tags, event, 2, name="x/y") == [["a", "b"], ["c", "d"], ["e"]]
    assert pages(oci.decode_tags, event, 5, name="x/y") == [["a", "b", "c", "d", "e"]]
    assert pages(oci.decode_tags, event, 0, name="x/y") == [[]]
    asked = oci.decode_tags(incoming(name="x/y"))
    assert json.loads(asked.answer.whole([event])) == {"name": "x/y", "tags": list("abcde")}
    late = oci.decode_tags(incoming(query={"last": "c"}, name="x/y"))
    assert json.loads(late.answer.whole([event]))["tags"] == ["d", "e"]


def test_the_catalogue_names_every_repository_once_and_in_full():
    names = ("tiny:b", "tiny:a", "anna/mine:latest", "localhost:5000/x/y:1")
    event = ModelsFound(
        models=tuple(
            ModelSummary(name=n, digest="", size_bytes=0, modified_at=0, details=ModelDetails())
            for n in names
        )
    )
    told = json.loads(oci.decode_catalogue(incoming()).answer.whole([event]))
    assert told == {"repositories": ["anna/mine", "library/tiny", "localhost:5000/x/y"]}
    assert [x for page in pages(oci.decode_catalogue, event, 1) for x in page] == told[
        "repositories"
    ]


@pytest.mark.parametrize("n", ["-1", "x", "", "1.5", "9" * 5000, "٣"])
def test_a_page_size_that_is_no_number_is_refused(n):
    for decode in (oci.decode_catalogue, oci.decode_tags):
        with pytest.raises(BadRequest) as caught:
            decode(incoming(query={"n": n}, name="x"))
        assert json.loads(oci.error(caught.value))["errors"][0]["code"] == (
            "PAGINATION_NUMBER_INVALID"
        )


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (NotAuthenticated("x"), "UNAUTHORIZED"),
        (Forbidden("x"), "DENIED"),
        (NotFound("x", code="repository_not_found"), "NAME_UNKNOWN"),
        (NotFound("x", code="manifest_not_found"), "MANIFEST_UNKNOWN"),
        (NotFound("x", code="blob_not_found"), "BLOB_UNKNOWN"),
        (BadRequest("x", code="invalid_digest"), "DIGEST_INVALID"),
        (InvalidModel("x"), "MANIFEST_INVALID"),
        (Overloaded("x"), "TOOMANYREQUESTS"),
    ],
)
def test_errors_have_the_words_of_the_specification(error, code):
    (told,) = json.loads(oci.error(error))["errors"]
    assert (told["code"], told["message"]) == (code, "x")
