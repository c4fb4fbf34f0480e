"""Files named by the sha256 of their content, in the layout Ollama uses on disk.

`<root>/blobs/sha256-<64 hex>`; what is not complete yet ends in `-partial`. A blob appears under
its name only when all its bytes are on the disk and have been counted into its digest.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import shutil
import stat
import time
from collections.abc import Callable, Collection, Generator, Iterator
from pathlib import Path
from typing import BinaryIO

from dimora.core.errors import BadRequest
from dimora.storage.disk import (
    discard,
    disk_errors,
    is_failure,
    is_temporary,
    make_private_directory,
    settle_directory,
    settle_file,
)

DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
CHUNK_BYTES = 1 << 20
GRACE_SECONDS = 3600.0
# A download given up longer ago than this is not going to be resumed.
_PARTIAL_GRACE_SECONDS = 14 * 24 * 3600.0
_PLACE = "the model store"
_SCRATCH = "tmp-"


def is_digest(text: str) -> bool:
    """Whether `text` is `sha256:` and 64 lower-case hex digits."""
    return DIGEST.fullmatch(text) is not None


def hash_file(path: Path, note: Callable[[int], None] | None = None) -> str:
    """The digest of a file's bytes; `note` is told how many were read, again and again."""
    steps = hash_steps(path)
    while True:
        try:
            count = next(steps)
        except StopIteration as ended:
            return str(ended.value)
        if note is not None:
            note(count)


def hash_steps(path: Path) -> Generator[int, None, str]:
    """Yields again and again how many bytes of a file were read, and returns their digest."""
    sha256, count = hashlib.sha256(), 0
    with path.open("rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            sha256.update(chunk)
            count += len(chunk)
            yield count
    return f"sha256:{sha256.hexdigest()}"


class BlobWriter:
    """Takes bytes, counts them into a digest; `written_bytes` and `digest` say how far it is."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._sha256 = hashlib.sha256()
        self.written_bytes = 0

    @property
    def digest(self) -> str:
        return f"sha256:{self._sha256.hexdigest()}"

    def write(self, data: bytes) -> None:
        self._file.write(data)
        self._sha256.update(data)
        self.written_bytes += len(data)


class BlobStore:
    """The blobs below `root`. Methods block; several processes may share one root."""

    def __init__(self, root: Path) -> None:
        self._directory = root / "blobs"

    @property
    def directory(self) -> Path:
        return self._directory

    def path(self, digest: str) -> Path:
        """Where a blob is or would be. The only way from a digest to a path.

        Raises BadRequest for anything but a digest, so that no name can lead elsewhere.
        """
        if not is_digest(digest):
            raise BadRequest(f"{digest[:80]!r} is not a sha256 digest", code="invalid_digest")
        return self._directory / digest.replace(":", "-")

    def partial_path(self, digest: str) -> Path:
        """Where a download that will be this blob is kept until it is complete."""
        return self.path(digest).with_name(self.path(digest).name + "-partial")

    def lock_path(self, digest: str) -> Path:
        """The file whose lock says that somebody is fetching this blob."""
        return self.path(digest).with_name(self.path(digest).name + "-partial.lock")

    def size_of(self, digest: str) -> int | None:
        """Bytes of a blob, None when it is not here."""
        try:
            return self.path(digest).stat().st_size
        except FileNotFoundError:
            return None

    def scratch_path(self) -> Path:
        """A new name for what is being made, a file or a folder; a sweep takes what is left."""
        return self._directory / f"{_SCRATCH}{os.getpid()}-{os.urandom(6).hex()}"

    def prepare(self) -> None:
        """Make the directory. Raises StorageFull or ConfigurationError."""
        with disk_errors(_PLACE):
            make_private_directory(self._directory)

    def read(self, digest: str, *, limit_bytes: int) -> bytes | None:
        """A small blob's bytes; None when it is missing, larger than `limit_bytes` or altered.

        Raises InternalError when the disk fails, which says nothing of the blob.
        """
        try:
            with self.path(digest).open("rb") as file:
                # As many bytes as are asked for are made room for, however few there are.
                data = file.read(min(limit_bytes, os.fstat(file.fileno()).st_size) + 1)
        except OSError as why:
            if is_failure(why):
                with disk_errors(_PLACE):
                    raise
            return None
        intact = f"sha256:{hashlib.sha256(data).hexdigest()}" == digest
        return data if intact and len(data) <= limit_bytes else None

    def put(self, data: bytes) -> str:
        """Store bytes and give their digest; a damaged file of theirs is mended.

        Raises StorageFull.
        """
        digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
        if self.read(digest, limit_bytes=len(data)) == data:
            self.touch(digest)
            return digest
        with self.writing(digest) as writer:
            writer.write(data)
        return digest

    def touch(self, digest: str) -> None:
        """Set a blob's clock anew, so that a sweep does not take it before it is referenced."""
        path = self.path(digest)
        with contextlib.suppress(OSError):
            state = path.stat()
            if state.st_nlink == 1:
                os.utime(path)
            else:
                # The time of a linked file is somebody else's as well: of its rights alone, then.
                path.chmod(stat.S_IMODE(state.st_mode))

    def age_seconds(self, digest: str) -> float:
        """How long ago a blob came here or was touched. Raises OSError when it is not here."""
        return time.time() - _touched_at(self.path(digest))

    @contextlib.contextmanager
    def writing(self, digest: str) -> Iterator[BlobWriter]:
        """A writer whose bytes become the blob `digest` at the end of the `with`.

        Nothing is left behind when the block fails or the bytes have another digest (BadRequest).
        Raises StorageFull.
        """
        final = self.path(digest)
        self.prepare()
        temporary = self.scratch_path()
        try:
            with disk_errors(_PLACE):
                with temporary.open("xb") as file:
                    writer = BlobWriter(file)
                    yield writer
                    file.flush()
                    settle_file(file.fileno())
                if writer.digest != digest:
                    raise BadRequest(
                        f'digest mismatch, expected "{digest}", got "{writer.digest}"',
                        code="digest_mismatch",
                    )
                temporary.replace(final)
                settle_directory(self._directory)
        except BaseException:
            discard(temporary)
            raise

    def adopt(self, file: Path, digest: str) -> None:
        """Give a complete file in the blobs' directory, already hashed, its name.

        Raises StorageFull, ConfigurationError, InternalError; the file is gone when the disk could
        not keep its bytes.
        """
        with disk_errors(_PLACE):
            # Windows settles only what is open for writing; elsewhere a file may be read-only.
            opened = file.open("rb+" if os.name == "nt" else "rb")
            try:
                with opened:
                    settle_file(opened.fileno())
            except OSError:
                # A system that failed to write pages forgets them, and would settle them the next
                # time without a word (fsync(2)): these bytes must not be used again.
                discard(file)
                raise
            file.replace(self.path(digest))
            # Its bytes may be older than a sweep allows: from an earlier try, or a long conversion.
            self.touch(digest)
            settle_directory(self._directory)

    def remove(self, digest: str) -> bool:
        """Remove a blob; True when it was there."""
        try:
            self.path(digest).unlink()
        except FileNotFoundError:
            return False
        return True

    def sweep(self, referenced: Collection[str], *, grace_seconds: float = GRACE_SECONDS) -> int:
        """Remove blobs nobody refers to, and what broken writes left; gives how many files.

        Files younger than `grace_seconds` stay, since their manifest may be on its way; downloads
        that can be resumed stay two weeks.
        """
        removed = 0
        for entry, patience in self._unneeded(referenced, grace_seconds):
            with contextlib.suppress(OSError):
                if time.time() - max(map(_touched_at, _files_of(entry))) >= patience:
                    _remove(entry)
                    removed += 1
        return removed

    def unneeded(self, referenced: Collection[str]) -> dict[str, int]:
        """Bytes of the files nobody refers to, whatever their age, by their names."""
        found = {}
        for entry, _ in self._unneeded(referenced, 0.0):
            with contextlib.suppress(OSError):
                found[entry.name] = sum(file.lstat().st_size for file in _files_of(entry))
        return found

    def _unneeded(
        self, referenced: Collection[str], grace_seconds: float
    ) -> Iterator[tuple[os.DirEntry[str], float]]:
        """Each file or folder nobody refers to, and how old it must be to go."""
        try:
            entries = list(os.scandir(self._directory))
        except FileNotFoundError:
            return
        names = {entry.name for entry in entries}
        for entry in entries:
            patience = self._patience(entry.name, names, referenced, grace_seconds)
            is_scratch = entry.name.startswith(_SCRATCH) and entry.is_dir(follow_symlinks=False)
            if patience is not None and (is_scratch or entry.is_file(follow_symlinks=False)):
                yield entry, patience

    def _patience(
        self, name: str, names: Collection[str], referenced: Collection[str], grace_seconds: float
    ) -> float | None:
        """How old a file must be to go, None when it stays. `names` are all that are there."""
        if name.startswith(_SCRATCH) or is_temporary(name):
            return grace_seconds
        blob, mark, _ = name.partition("-partial")
        if mark and name.startswith("sha256-"):
            resumable = blob not in names and f"{blob}{mark}" in names
            return max(grace_seconds, _PARTIAL_GRACE_SECONDS) if resumable else grace_seconds
        digest = name.replace("-", ":", 1)
        if not is_digest(digest) or digest in referenced:
            return None
        return grace_seconds


def _files_of(entry: os.DirEntry[str]) -> list[Path]:
    """The file, or the folder with all below it."""
    path = Path(entry.path)
    return [path, *path.rglob("*")] if entry.is_dir(follow_symlinks=False) else [path]


def _remove(entry: os.DirEntry[str]) -> None:
    if entry.is_dir(follow_symlinks=False):
        shutil.rmtree(entry.path)
    else:
        Path(entry.path).unlink()


def _touched_at(path: Path) -> float:
    """When the file came here: for a link to an older file, when it was linked."""
    state = path.lstat()
    linked = state.st_nlink > 1 and not stat.S_ISDIR(state.st_mode)
    return max(state.st_mtime, state.st_ctime) if linked else state.st_mtime
