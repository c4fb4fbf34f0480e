"""Gives a model that is a folder of files the names its engine looks for."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path


@contextlib.contextmanager
def linked_folder(files: Mapping[str, str], scratch_path: str) -> Iterator[Path]:
    """A private folder of links to these files, by their relative names; gone after the `with`.

    Files of a store are named by their digests, and engines go by names.
    """
    folder = Path(tempfile.mkdtemp(prefix="folder-", dir=scratch_path))
    try:
        for name, path in files.items():
            link = folder / name
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(path)
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
