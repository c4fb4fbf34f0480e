"""A house whose models say again what they are asked, and documents for it.

Such a model obeys whatever it reads: what a document may not bring about, it must not bring about
here. Its vectors count bytes, so that words are what finds.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

from dimora.core.settings import Settings
from dimora.core.types import Event, Principal, Request
from dimora.runtime.house import House
from dimora.tasks.create_model import CreateModel
from dimora.tasks.options import Options
from dimora.tasks.recipe import Recipe
from dimora.tasks.take_file import FileTaken, TakeFile
from tests.unit.models.making import OllamaStore, tiny_gguf

OWNER = Principal(user="ada", workspace="main", roles=("owner",), proof="terminal")
CHAT, EMBEDDER = "tiny", "nano"
TEMPLATE = (
    "{% if tools %}<|im_start|>system\nCall by <tool_call>: {% for t in tools %}"
    "{{ t.function.name }} {% endfor %}<|im_end|>\n{% endif %}"
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "<|im_start|>assistant\n"
)
# The echo's tokens are bytes.
WIDE = Options(num_ctx=60_000)


@asynccontextmanager
async def open_house(home: Path, **settings: object) -> AsyncIterator[House]:
    """Has a chat model and an embedder."""
    home.mkdir(parents=True, exist_ok=True)
    chat = tiny_gguf(home / "tiny.gguf", template=TEMPLATE, context_length=100_000)
    encoder = tiny_gguf(
        home / "nano.gguf", architecture="bert", template="", context_length=100_000
    )
    store = OllamaStore(home / "models")
    for name, file in ((CHAT, chat), (EMBEDDER, encoder)):
        store.model(
            ("registry.ollama.ai", "library", name, "latest"), [("model", file.read_bytes())]
        )
    house = House(Settings(home=home, engine="echo", embedder=EMBEDDER, **settings))
    await house.start()
    try:
        yield house
    finally:
        await house.close()


async def ask(house: House, request: Request, principal: Principal = OWNER) -> list[Event]:
    return [event async for event in house.run(principal, request)]


async def create_knowing(
    house: House, name: str, documents: Mapping[str, Path], **recipe: object
) -> list[Event]:
    """A model with FILEs."""
    digests: dict[str, str] = {}
    for called, path in documents.items():
        for event in await ask(house, TakeFile(path=str(path))):
            if isinstance(event, FileTaken):
                digests[called] = event.digest
    made = Recipe(source=CHAT, documents=digests, **recipe)  # type: ignore[arg-type]
    return await ask(house, CreateModel(model=name, recipe=made))
