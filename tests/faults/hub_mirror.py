"""A mirror of a hub on the loopback, and the host its large files are at."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable
from urllib.parse import unquote

from dimora.core.written import Credential
from dimora.models.remote.access import SourceAccess
from tests.faults.site import Asked, Reply, Site, ranged

COMMIT = "a1" * 20
TOKEN = "hf_a-token-of-the-tests"


class Repository:
    """What the mirror has. `large` files go by their digest, and lie at the other host."""

    def __init__(self, files: dict[str, bytes], **told: object) -> None:
        self.files = files
        self.told = told
        self.large = {name for name in files if name.endswith((".gguf", ".safetensors"))}
        self.private = False
        self.gated: object = False
        self.digests: dict[str, str] = {}
        self.sizes = True
        self.commit = COMMIT


class Mirror:
    """A hub and the host its large files are at."""

    def __init__(self, open_site: Callable[..., Site]) -> None:
        self.repositories: dict[str, Repository] = {}
        self.tokens = {TOKEN}
        self.accepted = True
        self.cuts: list[int] = []
        self.cdn = open_site(self._answer_file)
        self.hub = open_site(self._answer)

    def access(self, token: str = "", **more: object) -> SourceAccess:
        credentials = {self.hub.key: Credential(token=token)} if token else {}
        return SourceAccess(
            registries=(self.hub.key, self.cdn.key),
            credentials=credentials,
            hub_endpoint=self.hub.url,
            **more,  # type: ignore[arg-type]
        )

    def _answer(self, asked: Asked) -> Reply:
        listing = re.fullmatch(r"/api/models/([^/]+/[^/]+)/revision/main\?blobs=true", asked.path)
        file = re.fullmatch(r"/([^/]+/[^/]+)/resolve/([0-9a-f]{40})/(.+)", asked.path)
        found = listing or file
        repository = self.repositories.get(found[1]) if found else None
        token = asked.headers.get("authorization", "").removeprefix("Bearer ")
        if token and token not in self.tokens:
            return Reply(401, b'{"error": "Invalid credentials"}')
        if repository is None or (repository.private and not token):
            return Reply(404 if token else 401, b'{"error": "Repository not found"}')
        if listing:
            return Reply(body=json.dumps(self._told(found[1], repository)).encode())
        assert file is not None
        if repository.gated and not (token and self.accepted):
            return Reply(403 if token else 401, b'{"error": "Access is restricted"}')
        name = unquote(file[3])
        if file[2] != repository.commit or name not in repository.files:
            return Reply(404)
        if name in repository.large:
            location = f"{self.cdn.url}/{found[1]}/{file[3]}?signature=x"
            return Reply(302, headers={"Location": location})
        return Reply(body=repository.files[name])

    def _told(self, name: str, repository: Repository) -> dict[str, object]:
        siblings = []
        for file, data in repository.files.items():
            row: dict[str, object] = {"rfilename": file}
            if repository.sizes:
                row |= {"size": len(data), "blobId": "0" * 40}
                if file in repository.large:
                    digest = repository.digests.get(file, hashlib.sha256(data).hexdigest())
                    row["lfs"] = {"sha256": digest, "size": len(data), "pointerSize": 130}
            siblings.append(row)
        return {
            "id": name,
            "sha": repository.commit,
            "gated": repository.gated,
            "private": repository.private,
            "siblings": siblings,
            **repository.told,
        }

    def _answer_file(self, asked: Asked) -> Reply:
        owner, name, file = unquote(asked.path.partition("?")[0]).lstrip("/").split("/", 2)
        data = self.repositories[f"{owner}/{name}"].files[file]
        cut = self.cuts.pop(0) if self.cuts and asked.method == "GET" else None
        return ranged(asked, data)._replace(cut=cut)
