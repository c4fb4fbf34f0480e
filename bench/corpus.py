"""The documents that `retrieval.py` asks about: manuals that packages of Debian 12 bring.

They are taken where they are installed, else fetched with apt and unpacked beside the collection;
nothing of them is kept here. Of pages that no question names a third is taken: enough to get lost
in, and a third of the time.
"""

from __future__ import annotations

import hashlib
import re
import subprocess
from collections.abc import Container
from pathlib import Path
from typing import NamedTuple


class Manual(NamedTuple):
    """`files` is a pattern below /usr/share; `only` tells which of the names it finds."""

    package: str
    language: str
    files: str
    only: str = r"(?!index|genindex|fdl|titlepage|gnc-gloss)"


MANUALS = (
    Manual("debian-faq-it", "it", "doc/debian/FAQ/it/*.html"),
    Manual("debian-edu-doc-it", "it", "doc/debian-edu-doc-it/debian-edu-bookworm-manual.pdf"),
    Manual("gnucash-docs", "it", "doc/gnucash-docs/gnucash-guide-it/*.html"),
    # All pages in one, and the news of all releases, are the same texts again.
    Manual(
        "freedombox-doc-es",
        "es",
        "freedombox/manual/es/*.part.html",
        r"(?!Manual|freedombox-manual|ReleaseNotes)",
    ),
    Manual(
        "gimp-help-es",
        "es",
        "gimp/2.0/help/es/gimp-*.html",
        r"gimp-(tool|concept|imaging|using|introduction|image|layer|text|path|paint|selection)s?-",
    ),
    Manual("debian-history", "en", "doc/debian-history/docs/project-history.en.pdf"),
    Manual("debian-policy", "en", "doc/debian-policy/fhs/fhs-3.0.html"),
    Manual("debian-policy", "en", "doc/debian-policy/policy.html/*.html"),
    Manual("git-doc", "en", "doc/git/html/user-manual.html"),
    Manual("harden-doc", "en", "doc/harden-doc/html/en-US/*.html"),
)


class CorpusFile(NamedTuple):
    path: Path
    language: str


def corpus(directory: Path, named: Container[str]) -> list[CorpusFile]:
    """The files, in an order that stays; all of those whose names are `named`.

    Raises RuntimeError where a package cannot be had.
    """
    found = []
    for manual in MANUALS:
        paths = _files(Path("/usr/share"), manual) or _files(
            _unpacked(directory, manual.package), manual
        )
        if not paths:
            raise RuntimeError(f"the package {manual.package} has no {manual.files}")
        found += [
            CorpusFile(path, manual.language)
            for path in paths
            if path.name in named or _is_of_the_third(path.name)
        ]
    return found


def _is_of_the_third(name: str) -> bool:
    return int(hashlib.sha256(name.encode()).hexdigest(), 16) % 3 == 0


def _files(share: Path, manual: Manual) -> list[Path]:
    return sorted(path for path in share.glob(manual.files) if re.match(manual.only, path.name))


def _unpacked(directory: Path, package: str) -> Path:
    """/usr/share of the package, unpacked without installing it; that needs no rights."""
    home = directory / package
    share = home / "usr" / "share"
    if share.is_dir():
        return share
    home.mkdir(parents=True, exist_ok=True)
    try:
        subprocess.run(["apt-get", "download", package], cwd=home, check=True, capture_output=True)
        file = next(home.glob("*.deb"))
        subprocess.run(["dpkg-deb", "-x", file.name, "."], cwd=home, check=True)
    except (OSError, subprocess.CalledProcessError, StopIteration) as why:
        raise RuntimeError(f"the package {package} cannot be fetched: {why}") from why
    file.unlink()
    return share
