"""What neighbours may read of the store: tags, manifests, and the blobs those manifests need."""

from __future__ import annotations

import contextlib
import hashlib
from pathlib import Path

from dimora.core.errors import BadRequest, InvalidModel, NotFound
from dimora.models.manifests import Manifest, Manifests, decode_manifest
from dimora.models.names import Name, parse_name
from dimora.storage.blobs import BlobStore, is_digest
from dimora.tasks.base import ManifestFile


class BlobFile:
    """A blob that is open; its bytes can be read also after it left the store."""

    def __init__(self, path: Path, digest: str) -> None:
        self.digest = digest
        self._file = path.open("rb", buffering=0)
        self.size_bytes = self._file.seek(0, 2)

    def read(self, start: int, length: int) -> bytes:
        """At most `length` bytes from `start` on; one caller at a time."""
        self._file.seek(start)
        return self._file.read(length)

    def close(self) -> None:
        self._file.close()


class Sharing:
    """Reads by repository, which is a model's name without its tag, in any case.

    A blob is given only if a manifest of that repository needs it: what else lies in the store
    cannot be read, nor told from what does not.
    """

    def __init__(self, manifests: Manifests, blobs: BlobStore) -> None:
        self._manifests = manifests
        self._blobs = blobs

    def tags(self, repository: str) -> list[str]:
        """Sorted. Raises NotFound."""
        return sorted(name.tag for name in self._names(repository))

    def manifest(self, repository: str, reference: str) -> ManifestFile:
        """The manifest with a tag or digest.

        Raises NotFound, BadRequest for what looks like a digest and is none, InvalidModel.
        """
        if ":" in reference:
            return self._manifest_by_digest(repository, _checked(reference))
        for name in self._names(repository):
            if name.tag.lower() == reference.lower():
                with contextlib.suppress(FileNotFoundError):
                    return self._read(name)
        raise _no_manifest()

    def blob(self, repository: str, digest: str) -> BlobFile:
        """Raises NotFound, also for a blob that is damaged; BadRequest."""
        wanted = _checked(digest)
        for name in self._names(repository):
            with contextlib.suppress(FileNotFoundError, InvalidModel):
                size = _size_in(self._manifests.read(name).manifest, wanted)
                if size is None:
                    continue
                file = BlobFile(self._blobs.path(wanted), wanted)
                if file.size_bytes == size:
                    return file
                file.close()
        raise NotFound("there is no such blob in this repository", code="blob_not_found")

    def _manifest_by_digest(self, repository: str, digest: str) -> ManifestFile:
        for name in self._names(repository):
            with contextlib.suppress(FileNotFoundError, InvalidModel):
                found = self._read(name)
                if found.digest == digest:
                    return found
        raise _no_manifest()

    def _read(self, name: Name) -> ManifestFile:
        data = self._manifests.read_bytes(name)
        return ManifestFile(
            name=name.display,
            digest=f"sha256:{hashlib.sha256(data).hexdigest()}",
            media_type=decode_manifest(data, name.display).media_type,
            data=data,
        )

    def _names(self, repository: str) -> list[Name]:
        """Complete names of one repository, at least one. Raises NotFound."""
        wanted = parse_name(repository)
        found: list[Name] = []
        if wanted is not None and ":" not in repository.rpartition("/")[2]:
            whose = wanted.folded[:3]
            found = [name for name in self._manifests.names() if name.folded[:3] == whose]
        if not found:
            raise NotFound("there is no such repository here", code="repository_not_found")
        return found


def _checked(digest: str) -> str:
    if not is_digest(digest):
        raise BadRequest("this is not a sha256 digest", code="invalid_digest")
    return digest


def _size_in(manifest: Manifest, digest: str) -> int | None:
    for layer in (manifest.config, *manifest.layers):
        if layer.digest == digest:
            return layer.size
    return None


def _no_manifest() -> NotFound:
    return NotFound("there is no such manifest in this repository", code="manifest_not_found")
