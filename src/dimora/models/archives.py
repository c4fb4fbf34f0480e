"""Takes one file out of a zip archive, such as a wheel, into the blob store."""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path

from dimora.core.errors import BadRequest, SourceFailed
from dimora.storage.blobs import CHUNK_BYTES, BlobStore

_ENCRYPTED = 0x1


def extract_blob(
    archive: Path, member: str, blobs: BlobStore, *, digest: str, size_bytes: int
) -> None:
    """Make the blob `digest` of the file `member`; nothing else of the archive is touched.

    Raises SourceFailed when it is not there or not the file it should be, StorageFull.
    """
    try:
        with zipfile.ZipFile(archive) as opened:
            info = opened.getinfo(member)
            if info.file_size != size_bytes or info.flag_bits & _ENCRYPTED:
                raise SourceFailed(f"{member} in the package is not the file it should be")
            with opened.open(info) as file, blobs.writing(digest) as writer:
                while chunk := file.read(CHUNK_BYTES):
                    if writer.written_bytes + len(chunk) > size_bytes:
                        raise SourceFailed(f"{member} in the package is larger than it says")
                    writer.write(chunk)
    except KeyError:
        raise SourceFailed(f"the package has no file {member}") from None
    except BadRequest:
        raise SourceFailed(f"{member} in the package has another sha256 than it should") from None
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as why:
        raise SourceFailed(f"the package is damaged: {why}") from None
