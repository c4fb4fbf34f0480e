"""Manifests are believed only as far as they are checked."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from dimora.core.errors import InvalidModel
from dimora.models.manifests import (
    MANIFEST_LIMIT_BYTES,
    Config,
    Layer,
    Manifest,
    Manifests,
    decode_config,
    decode_manifest,
    decode_messages,
)
from dimora.models.names import Name

DIGEST = "sha256:" + "a" * 64
CONFIG = {
    "mediaType": "application/vnd.docker.container.image.v1+json",
    "digest": DIGEST,
    "size": 1,
}
NAME = Name("registry.ollama.ai", "library", "tiny", "latest")


def encoded(**changes: object) -> bytes:
    return json.dumps({"schemaVersion": 2, "mediaType": "x", "config": CONFIG} | changes).encode()


def layer(**changes: object) -> dict[str, object]:
    return {
        "mediaType": "application/vnd.ollama.image.model",
        "digest": DIGEST,
        "size": 5,
    } | changes


def test_layers_are_told_by_their_kind() -> None:
    kinds = ("model", "prompt", "params", "license", "license")
    rows = [layer(mediaType=f"application/vnd.ollama.image.{kind}") for kind in kinds]
    manifest = decode_manifest(encoded(layers=rows), "x")
    assert [row.kind for row in manifest.layers] == [
        "model",
        "template",
        "params",
        "license",
        "license",
    ]
    assert len(manifest.of_kind("license")) == 2
    assert manifest.size_bytes == 25


def test_keys_nobody_knows_are_tolerated() -> None:
    row = layer(**{"from": "/some/where", "name": "x", "later": {"a": [1]}})
    manifest = decode_manifest(encoded(layers=[row], later=True), "x")
    assert manifest.layers[0].from_ == "/some/where"
    config = decode_config(b'{"model_family": "llama", "later": 1, "model_families": null}', "x")
    assert config == Config(model_family="llama")


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{",
        b"[]",
        b"\xff\xfe",
        b"{}",
        encoded(layers=[layer(size=-1)]),
        encoded(layers=[layer(size="5")]),
        encoded(layers=[layer(size=2**60)]),
        encoded(layers=[layer(digest="sha256:../../../etc/passwd")]),
        encoded(layers=[layer(digest="sha256-" + "a" * 64)]),
        encoded(layers=[layer(digest="")]),
        encoded(layers={}),
        encoded(config={}),
        encoded(config=CONFIG | {"digest": "x"}),
        b" " * (MANIFEST_LIMIT_BYTES + 1),
    ],
)
def test_what_is_not_a_manifest_is_refused_by_name(data: bytes) -> None:
    with pytest.raises(InvalidModel, match="tiny:latest"):
        decode_manifest(data, "tiny:latest")


def test_a_manifest_survives_being_written_and_read(tmp_path: Path) -> None:
    manifests = Manifests(tmp_path)
    wanted = Manifest(
        config=Layer(media_type="c", digest=DIGEST, size=3),
        layers=(Layer(media_type="m", digest=DIGEST, size=4, from_="y"),),
    )
    manifests.write(NAME, wanted)
    assert manifests.read(NAME).manifest == wanted
    written = json.loads(manifests.path(NAME).read_bytes())
    assert written["schemaVersion"] == 2
    assert written["layers"][0] == {"mediaType": "m", "digest": DIGEST, "size": 4, "from": "y"}
    assert list(manifests.names()) == [NAME]
    manifests.remove(NAME)
    assert list(manifests.names()) == []
    assert list(tmp_path.rglob("*")) == [tmp_path / "manifests"]


def test_files_that_are_no_manifests_are_passed_over(tmp_path: Path) -> None:
    manifests = Manifests(tmp_path)
    assert list(manifests.names()) == []
    wanted = Manifest(config=Layer(media_type="c", digest=DIGEST, size=3))
    manifests.write(NAME, wanted)
    directory = manifests.path(NAME).parent
    (directory / ".DS_Store").write_text("x")
    (directory / ".latest.1-2").write_text("x")
    (directory / "not a tag").write_text("x")
    (directory / "folder").mkdir()
    (tmp_path / "manifests" / "file").write_text("x")
    assert list(manifests.names()) == [NAME]


def test_messages_of_a_layer_are_checked() -> None:
    assert decode_messages(b'[{"role":"user","content":"a"}]', "x")[0].content == "a"
    with pytest.raises(InvalidModel, match="messages of x"):
        decode_messages(b'[{"role":1}]', "x")
