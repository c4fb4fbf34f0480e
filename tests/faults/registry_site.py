"""A registry on the loopback whose faults are set by the test; it speaks the OCI protocol."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from tests.faults.site import Asked, Reply, ranged
from tests.unit.models.making import digest_of

MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
CONFIG = "application/vnd.docker.container.image.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
OURS = "application/vnd.ollama.image."


def described(kind: str, data: bytes, **more: object) -> dict[str, object]:
    return {"mediaType": kind, "digest": digest_of(data), "size": len(data), **more}


class RegistrySite:
    """Is called with what is asked (see `site`) and answers; `uploads` are kept by their number.

    `guard` may refuse a request before it is looked at, `spoil` may change any reply.
    """

    def __init__(self) -> None:
        self.blobs: dict[str, bytes] = {}
        self.manifests: dict[str, tuple[bytes, str]] = {}
        self.uploads: dict[str, bytes] = {}
        self.ranges = True
        self.guard: Callable[[Asked], Reply | None] = lambda _: None
        self.spoil: Callable[[Asked, Reply], Reply] = lambda _, reply: reply
        self.sent: Callable[[int], object] | None = None

    def add_model(self, path: Path, *, tag: str = "latest", **layers: bytes) -> bytes:
        """A model as Ollama stores it; gives the manifest's bytes."""
        weights = path.read_bytes()
        config = json.dumps({"model_format": "gguf", "model_family": "llama"}).encode()
        found = [self.add(f"{OURS}model", weights)]
        found += [self.add(OURS + kind, data) for kind, data in layers.items()]
        return self.add_manifest(found, tag=tag, config=self.add(CONFIG, config))

    def add(self, kind: str, data: bytes, **more: object) -> dict[str, object]:
        self.blobs[digest_of(data)] = data
        return described(kind, data, **more)

    def add_manifest(
        self, layers: list[dict[str, object]], *, tag: str = "latest", config: dict[str, object]
    ) -> bytes:
        rows = {"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": layers}
        data = json.dumps(rows, indent=3).encode()
        self.manifests[tag] = self.manifests[digest_of(data)] = (data, MANIFEST)
        return data

    def __call__(self, asked: Asked) -> Reply:
        reply = self.guard(asked)
        if reply is None:
            reply = self._answer(asked)
        return self.spoil(asked, reply)

    def _answer(self, asked: Asked) -> Reply:
        path, last = urlsplit(asked.path).path, urlsplit(asked.path).path.rpartition("/")[2]
        if path == "/v2/":
            return Reply()
        if "/manifests/" in path:
            return self._manifest(asked, last)
        if "/blobs/uploads/" in path:
            return self._upload(asked, last)
        if "/blobs/" in path:
            return self._blob(asked, last)
        return Reply(404)

    def _manifest(self, asked: Asked, reference: str) -> Reply:
        if asked.method == "PUT":
            self.manifests[reference] = (asked.body, asked.headers["content-type"])
            return Reply(201)
        if reference not in self.manifests:
            return Reply(404, b'{"errors":[{"code":"MANIFEST_UNKNOWN"}]}')
        data, kind = self.manifests[reference]
        return Reply(body=data, headers={"Content-Type": kind})

    def _blob(self, asked: Asked, digest: str) -> Reply:
        if digest not in self.blobs:
            return Reply(404)
        return ranged(asked, self.blobs[digest], ranges=self.ranges)._replace(sent=self.sent)

    def _upload(self, asked: Asked, number: str) -> Reply:
        query = parse_qs(urlsplit(asked.path).query)
        base = urlsplit(asked.path).path.rpartition("/")[0]
        if asked.method == "POST":
            if "mount" in query and query["mount"][0] in self.blobs:
                return Reply(201)
            number = str(len(self.uploads))
            self.uploads[number] = b""
        elif asked.method == "PATCH":
            start = int(asked.headers["content-range"].partition("-")[0])
            if start != len(self.uploads[number]):
                return Reply(416)
            self.uploads[number] += asked.body
        elif asked.method == "PUT":
            data, digest = self.uploads.pop(number) + asked.body, query["digest"][0]
            if f"sha256:{hashlib.sha256(data).hexdigest()}" != digest:
                return Reply(400)
            self.blobs[digest] = data
            return Reply(201)
        end = max(0, len(self.uploads[number]) - 1)
        headers = {"Location": f"{base}/{number}", "Range": f"0-{end}"}
        return Reply(204 if asked.method == "GET" else 202, headers=headers)
