"""The door: nothing runs without a principal, and nothing runs unrecorded.

These tests start real workers of the echo engine, which needs no sockets but its own pair.
"""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from dimora.core.errors import BadRequest, DimoraError, Forbidden, NotFound, UnsupportedFeature
from dimora.core.settings import Settings
from dimora.core.types import Done, Image, Message, Principal, Text, Tool
from dimora.runtime.house import House
from dimora.tasks.chat import Chat
from dimora.tasks.copy_model import CopyModel
from dimora.tasks.embed import Embed
from dimora.tasks.generate import Generate
from dimora.tasks.generation import Fold
from dimora.tasks.hold_model import HoldModel
from dimora.tasks.list_models import ListModels
from dimora.tasks.list_running import ListRunning
from dimora.tasks.options import Options
from dimora.tasks.tokenize import Tokenize
from tests.unit.models.making import OllamaStore, tiny_gguf

OWNER = Principal(user="ada", workspace="main", roles=("owner",), proof="loopback")
PLAIN = "{% for m in messages %}{{ m.content }}\n{% endfor %}"
TOOLS = PLAIN + "{{ tools | tojson }}"
THINKING = PLAIN + "<think></think>"


@pytest.fixture
def make_house(tmp_path: Path):
    def make(name: str = "home", template: str = PLAIN, numbers=None, **settings) -> House:
        home = tmp_path / name
        path = tmp_path / f"{name}.gguf"
        file = tiny_gguf(path, template=template, context_length=4096, numbers=numbers)
        store = OllamaStore(home / "models")
        store.model(
            ("registry.ollama.ai", "library", "tiny", "latest"), [("model", file.read_bytes())]
        )
        return House(Settings(home=home, engine="echo", **settings))

    return make


async def ask(house: House, request, principal: Principal = OWNER) -> list:
    return [event async for event in house.run(principal, request)]


def records(house: House) -> list[dict]:
    return [json.loads(line) for line in house.settings.audit_path.read_text().splitlines()]


def user_says(text: str) -> tuple[Message, ...]:
    return (Message("user", (Text(text),)),)


async def test_an_answer_ends_in_one_done_and_one_record(make_house):
    house = make_house()
    await house.start()
    events = await ask(house, Chat(model="tiny", messages=user_says("hello there")))
    fold = Fold.of(events)
    assert fold.text == "hello there\n"
    assert [isinstance(e, Done) for e in events].count(True) == 1
    assert isinstance(events[-1], Done)
    (record,) = records(house)
    assert (record["user"], record["request"], record["ended"]) == ("ada", "chat", "done")
    assert record["output_tokens"] == fold.done.usage.output_tokens > 0
    assert "hello" not in house.settings.audit_path.read_text()
    await house.close()


async def test_who_repeats_one_token_is_stopped_and_counted(make_house):
    house = make_house()
    await house.start()
    request = Generate(model="tiny", prompt="ha " * 100, raw=True, options=Options(num_predict=90))
    done = Fold.of(await ask(house, request)).done
    # The first one and 31 that repeat it.
    assert (done.usage.prompt_tokens, done.usage.output_tokens) == (300, 32)
    assert done.warnings == ("the model repeated one token and was stopped",)
    await house.close()


async def test_two_houses_live_in_one_process(make_house):
    first, second = make_house("one"), make_house("two")
    for house in (first, second):
        await house.start()
    texts = await asyncio.gather(
        *(ask(h, Generate(model="tiny", prompt=h.settings.home.name)) for h in (first, second))
    )
    assert [Fold.of(t).text.strip() for t in texts] == ["one", "two"]
    await first.close()
    assert len((await ask(second, ListRunning()))[0].running) == 1
    await second.close()


async def test_what_is_refused_is_recorded_too(make_house):
    house = make_house()
    reader = Principal(user="bo", workspace="main", roles=("reader",), proof="api_key")
    with pytest.raises(Forbidden):
        await ask(house, Chat(model="tiny", messages=()), reader)
    with pytest.raises(Forbidden):
        await ask(house, CopyModel(model="tiny", destination="x"), reader)
    with pytest.raises(NotFound):
        await ask(house, Chat(model="nobody", messages=()))
    assert [r["ended"] for r in records(house)] == ["forbidden", "forbidden", "model_not_found"]
    await house.close()


async def test_one_who_leaves_is_recorded_and_frees_the_seat(make_house):
    house = make_house(num_parallel=1)
    stream = house.run(OWNER, Generate(model="tiny", prompt="word " * 50, raw=True))
    async for event in stream:
        if event.__class__.__name__ == "TextPiece":
            break
    await stream.aclose()
    assert records(house)[-1]["ended"] == "cancelled"
    assert Fold.of(await ask(house, Generate(model="tiny", prompt="next", raw=True))).text == "next"
    await house.close()


async def test_warnings_come_back_and_are_refused_by_a_strict_house(make_house):
    request = Generate(model="tiny", prompt="x", warnings=("unknown option 'colour'",))
    house = make_house()
    assert "colour" in (await ask(house, request))[-1].warnings[0]
    await house.close()
    strict = make_house("strict", strict=True)
    with pytest.raises(BadRequest, match="colour"):
        await ask(strict, request)
    await strict.close()


async def test_keep_alive_of_zero_ends_the_worker(make_house):
    house = make_house()
    await ask(house, HoldModel(model="tiny"))
    assert len((await ask(house, ListRunning()))[0].running) == 1
    done = (await ask(house, HoldModel(model="tiny", keep_alive=0)))[-1]
    assert done.reason == "unload"
    for _ in range(100):
        if not (await ask(house, ListRunning()))[0].running:
            break
        await asyncio.sleep(0.02)
    assert (await ask(house, ListRunning()))[0].running == ()
    await house.close()


async def test_the_running_model_says_its_engine_and_why(make_house):
    house = make_house()
    await ask(house, HoldModel(model="tiny", options=Options(num_ctx=64)))
    (running,) = (await ask(house, ListRunning()))[0].running
    assert running.engine == "echo"
    assert running.engine_reason == "pinned by the settings"
    assert running.options.num_ctx == 64
    assert running.memory_bytes > 1_000_000
    await house.close()


async def test_a_path_is_a_model_for_the_terminal_and_for_nobody_else(make_house, tmp_path):
    house = make_house()
    path = str(tmp_path / "home.gguf")
    with pytest.raises(DimoraError):
        await ask(house, Generate(model=path, prompt="x"))
    terminal = Principal(user="ada", workspace="main", roles=("owner",), proof="terminal")
    answer = await ask(house, Generate(model=path, prompt="x", raw=True), terminal)
    assert Fold.of(answer).text == "x"
    assert str(tmp_path) not in house.settings.audit_path.read_text()
    await house.close()


async def test_json_is_held_to_its_schema_and_an_unsupported_schema_refused(make_house):
    house = make_house()
    schema = {
        "type": "object",
        "properties": {"a": {"type": "integer"}},
        "required": ["a"],
        "additionalProperties": False,
    }
    answer = await ask(house, Chat(model="tiny", messages=user_says("x"), json_schema=schema))
    assert json.loads(Fold.of(answer).text) == {"a": 0}
    with pytest.raises(BadRequest):
        await ask(house, Chat(model="tiny", messages=user_says("x"), json_schema={"not": {}}))
    await house.close()


async def test_a_forced_tool_is_called_and_an_unknown_one_is_not(make_house):
    house = make_house()
    tool = Tool(name="look", parameters={"type": "object", "properties": {}, "required": []})
    request = Chat(
        model="tiny", messages=user_says("x"), tools=(tool,), tool_choice="named", tool_name="look"
    )
    fold = Fold.of(await ask(house, request))
    assert [c.name for c in fold.calls] == ["look"]
    assert fold.calls[0].id.startswith("call_")
    assert (fold.done.reason, fold.text) == ("tool_calls", "")
    for wrong in ({"tool_name": "nobody"}, {"tools": ()}):
        with pytest.raises(BadRequest):
            fields = {"model": "tiny", "messages": user_says("x"), "tools": (tool,)}
            await ask(
                house, Chat(**(fields | {"tool_choice": "named", "tool_name": "look"} | wrong))
            )
    await house.close()


async def test_a_tool_call_in_the_text_becomes_an_event(make_house):
    house = make_house(template=TOOLS.replace("{{ tools | tojson }}", "{# tools <tool_call> #}"))
    tool = Tool(name="look", parameters={"type": "object"})
    says = 'Wait. <tool_call>{"name": "look", "arguments": {"at": "sky"}}</tool_call>'
    fold = Fold.of(await ask(house, Chat(model="tiny", messages=user_says(says), tools=(tool,))))
    assert [(c.name, c.arguments) for c in fold.calls] == [("look", {"at": "sky"})]
    assert fold.text.strip() == "Wait."
    assert fold.done.reason == "tool_calls"
    await house.close()


async def test_a_thought_is_told_apart_from_the_answer(make_house):
    house = make_house(template=THINKING.replace("<think></think>", "{# <think></think> #}"))
    says = "<think>Let me see.</think>The answer."
    fold = Fold.of(await ask(house, Chat(model="tiny", messages=user_says(says))))
    assert (fold.thought.strip(), fold.text.strip()) == ("Let me see.", "The answer.")
    await house.close()


async def test_what_a_model_cannot_do_is_refused_by_name(make_house):
    house = make_house()
    for request, words in (
        (Chat(model="tiny", messages=user_says("x"), think=True), "thinking"),
        (Chat(model="tiny", messages=user_says("x"), tools=(Tool(name="t"),)), "tools"),
        (Generate(model="tiny", prompt="x", suffix="y"), "insert"),
        (Generate(model="tiny", prompt="x", images=(b"png",)), "vision"),
        (Embed(model="tiny", texts=("x",)), "embed"),
        (Generate(model="tiny", prompt="x", logprobs=3), "top_logprobs"),
        (
            Generate(model="tiny", prompt="x", options=Options(logit_bias={1: 1.0})),
            "logit_bias",
        ),
    ):
        with pytest.raises(UnsupportedFeature, match=words):
            await ask(house, request)
    await house.close()


async def test_the_oldest_turns_are_dropped_and_that_is_told(make_house):
    house = make_house(context_length=120)
    turns = tuple(
        Message("user" if i % 2 == 0 else "assistant", (Text(f"turn {i} " + "x" * 20),))
        for i in range(11)
    )
    system = Message("system", (Text("be kind"),))
    fold = Fold.of(await ask(house, Chat(model="tiny", messages=(system, *turns))))
    assert fold.text.startswith("be kind")
    assert "turn 10" in fold.text
    assert "turn 0" not in fold.text
    assert fold.done.usage.truncated
    assert any("cut" in w for w in fold.done.warnings)
    with pytest.raises(BadRequest, match="longer than the context"):
        await ask(house, Chat(model="tiny", messages=(system, *turns), truncate=False))
    await house.close()


async def test_the_middle_of_a_long_prompt_is_cut_and_that_is_told(make_house):
    house = make_house(context_length=100)
    prompt = "BEGIN " + "x" * 300 + " END"
    fold = Fold.of(await ask(house, Generate(model="tiny", prompt=prompt, raw=True)))
    assert fold.text.startswith("BEGI")
    assert fold.text.endswith("END")
    assert fold.done.usage.prompt_tokens < 100
    assert fold.done.usage.prompt_tokens_original == len(prompt)
    with pytest.raises(BadRequest, match="longer than the context"):
        await ask(house, Generate(model="tiny", prompt=prompt, raw=True, shift=False))
    await house.close()


async def test_context_carries_the_conversation_on(make_house):
    house = make_house()
    first = Fold.of(await ask(house, Generate(model="tiny", prompt="one", want_context=True)))
    assert len(first.done.context) > 3
    second = await ask(house, Generate(model="tiny", prompt="two", context=first.done.context))
    assert Fold.of(second).text.startswith("one")
    await house.close()


async def test_an_answer_in_json_knows_its_context_and_is_cut_to_the_window(make_house):
    house = make_house(context_length=100)
    context = tuple(b"what was said before")
    asked = Generate(model="tiny", prompt="two", context=context, json_schema={"type": "object"})
    done = Fold.of(await ask(house, asked)).done
    assert done.usage.prompt_tokens == len(context) + len("two\n")
    long = Generate(model="tiny", prompt="x" * 300, json_schema={"type": "object"})
    fold = Fold.of(await ask(house, long))
    assert json.loads(fold.text) == {}
    assert fold.done.usage.prompt_tokens < 100 < fold.done.usage.prompt_tokens_original
    with pytest.raises(BadRequest, match="longer than the context"):
        fields = {"model": "tiny", "prompt": "x" * 300, "json_schema": {"type": "object"}}
        await ask(house, Generate(**fields, truncate=False))
    await house.close()


async def test_a_model_of_which_the_house_uses_no_eyes_is_shown_no_images(make_house):
    house = make_house(numbers={"llama.vision.block_count": 2})
    image = Message("user", (Text("what is it?"), Image(b"png")))
    for request in (
        Chat(model="tiny", messages=(image,)),
        Generate(model="tiny", prompt="what is it?", images=(b"png",)),
    ):
        with pytest.raises(UnsupportedFeature, match="vision"):
            await ask(house, request)
    await house.close()


async def test_tokens_and_lists_go_through_the_same_door(make_house):
    house = make_house()
    tokens = await ask(house, Tokenize(model="tiny", text="abc"))
    assert tokens[-2].tokens == (97, 98, 99)
    found = await ask(house, ListModels(prefix="TIN"))
    assert [m.name for m in found[0].models] == ["tiny:latest"]
    assert [r["request"] for r in records(house)] == ["tokenize", "list_models"]
    await house.close()
