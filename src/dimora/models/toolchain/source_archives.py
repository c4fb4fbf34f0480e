"""Takes part of a source archive (`.tar.gz`) out into a directory; nothing of it is run."""

from __future__ import annotations

import shutil
import tarfile
import zlib
from collections.abc import Collection
from pathlib import Path, PurePosixPath

from dimora.core.errors import SourceFailed

MEMBERS_LIMIT = 50_000
_PATH_LIMIT = 240


def unpack(
    archive: Path, target: Path, *, folder: str, parts: Collection[str], limit_bytes: int
) -> int:
    """Write the files below `folder` whose first name is one of `parts` into `target`, a new one.

    Gives the number of files. What lies elsewhere in the archive is passed over; what lies there
    and is no plain file or directory, or has a name that leads elsewhere, is refused.

    Raises SourceFailed, and OSError of the disk.
    """
    target.mkdir(parents=True)
    count = written = 0
    try:
        with tarfile.open(archive, "r:gz") as opened:
            for number, member in enumerate(opened):
                if number >= MEMBERS_LIMIT:
                    raise SourceFailed("the archive has more files than it should")
                place = _place(member, folder, parts)
                if place is None:
                    continue
                written += member.size
                if written > limit_bytes:
                    raise SourceFailed("the archive is larger unpacked than it should be")
                _write(opened, member, target / place)
                count += 1
    except (tarfile.TarError, zlib.error, EOFError) as why:
        raise SourceFailed(f"the archive is damaged: {why}") from None
    return count


def _place(member: tarfile.TarInfo, folder: str, parts: Collection[str]) -> PurePosixPath | None:
    """Where a member belongs below the target, None for one that is not wanted."""
    name = PurePosixPath(member.name)
    wanted = PurePosixPath(folder)
    if not name.is_relative_to(wanted) or name == wanted:
        return None
    place = name.relative_to(wanted)
    if place.parts[0] not in parts:
        return None
    odd = ".." in name.parts or any(letter in member.name for letter in "\\:\0")
    if odd or name.is_absolute() or len(member.name) > _PATH_LIMIT:
        raise SourceFailed(f"the archive has a file with a wrong name: {member.name[:80]!r}")
    if not member.isreg() and not member.isdir():
        raise SourceFailed(f"the archive has something that is no file: {member.name[:80]!r}")
    return place if member.isreg() else None


def _write(opened: tarfile.TarFile, member: tarfile.TarInfo, place: Path) -> None:
    content = opened.extractfile(member)
    if content is None:
        raise SourceFailed(f"the archive has something that is no file: {member.name[:80]!r}")
    place.parent.mkdir(parents=True, exist_ok=True)
    try:
        with content, place.open("xb") as file:
            shutil.copyfileobj(content, file)
    except FileExistsError:
        raise SourceFailed(f"the archive has {member.name[:80]!r} twice") from None
