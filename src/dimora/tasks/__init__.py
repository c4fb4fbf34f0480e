"""What the house can do, one file per task; the file's name is the tag of its Request.

A task file has one `Request` subclass, a constant `RIGHT` (what a principal must be allowed to
do), and `async def run(request, rooms)`, an async generator of Events that ends in one Done.
"""

from types import ModuleType

from dimora.core.shelf import Shelf
from dimora.tasks import ready

# Files that several tasks share; they are not tasks.
_SHARED = frozenset(
    {
        "acting",
        "advice",
        "borrowed",
        "card",
        "citing",
        "constrained",
        "conversation",
        "embedding",
        "evidence",
        "finding",
        "generation",
        "grounding",
        "ingesting",
        "keeping",
        "kept_files",
        "knowing",
        "matching",
        "modelfile",
        "options",
        "profile",
        "ready",
        "recipe",
        "reranking",
        "retrieving",
        "writing",
    }
)

SHELF = Shelf("dimora.tasks", furniture=_SHARED)
READY = ready.SHELF


def load(name: str) -> ModuleType:
    """The task of this name, one of the house's own or a ready one.

    Raises ConfigurationError where there is none.
    """
    return (READY if name in READY.names() else SHELF).load(name)
