"""What a store is, as a test sees it: names and the bytes of their manifests, and nothing else."""

from __future__ import annotations

import asyncio
import hashlib
import json
import re
from pathlib import Path

from dimora.models.store import ModelStore
from dimora.tasks.keeping import Fault

State = dict[str, bytes]
_RANDOM = re.compile(r"\d+-[0-9a-f]{8,12}")
# Files that are there to be locked.
_LOCKS = frozenset({".dimora.lock", "templates.lock", ".lock"})
# What has times and inodes in it.
_MEMORIES = ("cache/", "log/", "templates.json")


class Place:
    """A home below `root`, and a store beside it that has Ollama's layout and another owner."""

    def __init__(self, root: Path) -> None:
        self.root, self.home, self.models = root, root / "home", root / "ollama"

    def store(self) -> ModelStore:
        return ModelStore(
            self.models,
            cache_path=self.home / "cache",
            pins_path=self.home / "templates.json",
            keys_path=self.home / "keys",
        )

    def state(self) -> State:
        """Every name that can be seen, with its manifest."""
        directory = self.models / "manifests"
        return {
            str(path.relative_to(directory)): path.read_bytes()
            for path in sorted(directory.glob("*/*/*/*"))
            if not path.name.startswith(".")
        }

    def picture(self) -> str:
        """The same for trees that mean the same: random names and memories do not count."""
        rows = []
        for path in sorted(self.root.rglob("*")):
            name = str(path.relative_to(self.home if self.home in path.parents else self.root))
            content = b""
            if path.is_file() and not name.startswith(_MEMORIES):
                content = path.read_bytes()
            rows.append((_RANDOM.sub("*", name), hashlib.sha256(content).hexdigest()))
        return json.dumps(sorted(rows))

    def faults(self) -> list[Fault]:
        """What `dimora verify` finds."""

        async def look() -> list[Fault]:
            found = ModelStore(self.models).verify()
            return [step async for step in found if isinstance(step, Fault)]

        return asyncio.run(look())

    def unfinished(self) -> list[str]:
        """What a program writes before it has its name, but for downloads that can be resumed."""
        found = [*self.root.rglob(".*.dimora-part"), *self.models.glob("blobs/tmp-*")]
        return [str(path.relative_to(self.root)) for path in found]

    def orphans(self) -> list[str]:
        """Files no model needs, and what was begun and not ended, wherever it is."""
        needed = {digest.replace(":", "-") for digest in self.store().manifests.references()}
        blobs = {path.name for path in (self.models / "blobs").iterdir()}
        hidden = {
            str(path.relative_to(self.root))
            for path in self.root.rglob(".*")
            if path.name not in _LOCKS
        }
        return sorted(blobs - needed | hidden)
