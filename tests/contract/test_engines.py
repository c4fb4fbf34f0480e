"""One suite over every engine, each in a real worker process with a real model."""

from __future__ import annotations

import json
import os
import shutil
import stat
import time
from pathlib import Path

import msgspec
import psutil
import pytest

from dimora import engines
from dimora.engines.base import EngineSettings
from dimora.models.store import ModelStore
from dimora.prompts.prompt import Prompt
from dimora.prompts.schema import violation
from dimora.runtime import messages
from dimora.tasks.base import Model, ModelDetails, ModelSummary, TextsToEmbed
from dimora.tasks.options import Sampling
from tests.worker_client import WorkerClient, WorkerFailed, worker

EXECUTABLE = os.environ.get("DIMORA_TEST_LLAMA_SERVER") or shutil.which("llama-server")
STORY = "Once upon a time, in a house on a hill,"
GREEDY = Sampling(temperature=0, num_predict=16)


def variants() -> list[str]:
    """Every engine that is here, llama.cpp also with an executable where there is one, OpenVINO
    also with a folder of its own format."""
    settings = EngineSettings(scratch_path="")
    names = [n for n, m in engines.SHELF.all().items() if m.offer(settings).available]
    more = ["llama_cpp+executable"] if EXECUTABLE else []
    return [*names, *more, *(["openvino+folder"] if "openvino" in names else [])]


REAL = [name for name in variants() if name != "echo"]
# The test model in the format of a variant, where that is not GGUF.
FOLDERS = {"openvino+folder": "smollm2_ir", "onnx": "smollm2_onnx"}


def open_worker(name: str, path: Path, scratch: Path, **options):
    engine, _, extra = name.partition("+")
    store = ModelStore(scratch / "models", cache_path=scratch / "cache")
    model = store.find_file(path)
    files = store.verified_files(model)
    return worker(
        engine,
        Path(files.weights) if files.weights else None,
        model,
        scratch / "run",
        llama_server=EXECUTABLE if extra == "executable" else "",
        folder=files.folder,
        **options,
    )


def pytest_generate_tests(metafunc):
    """Every engine; only those with a model for tests that ask for a `real` one."""
    if "loaded" in metafunc.fixturenames:
        names = REAL if "real" in metafunc.fixturenames else variants()
        metafunc.parametrize("loaded", names, indirect=True, scope="module")


def model_for(request, variant: str) -> Path:
    return request.getfixturevalue(FOLDERS.get(variant, "smollm2_path"))


@pytest.fixture(scope="module")
def loaded(request, tmp_path_factory) -> WorkerClient:
    scratch = tmp_path_factory.mktemp(request.param.replace("+", "-"))
    with open_worker(request.param, model_for(request, request.param), scratch) as client:
        client.variant = request.param
        client.scratch = scratch
        yield client


@pytest.fixture
def real(loaded) -> WorkerClient:
    return loaded


def family(client: WorkerClient) -> list[psutil.Process]:
    process = psutil.Process(client.process.pid)
    return [process, *process.children(recursive=True)]


def seconds_until_quiet(client: WorkerClient, limit: float) -> float:
    """How long the worker went on computing."""

    def cpu_seconds() -> float:
        return sum(sum(p.cpu_times()[:2]) for p in family(client))

    started = last_busy = time.monotonic()
    before = cpu_seconds()
    while time.monotonic() - started < limit:
        time.sleep(0.05)
        now = cpu_seconds()
        if now - before > 0.02:
            last_busy = time.monotonic()
        before = now
        if time.monotonic() - last_busy > 0.3:
            break
    return last_busy - started


def test_it_says_what_it_can_do(loaded):
    assert loaded.ready.version
    assert "generate" in loaded.ready.features
    assert loaded.ready.context_tokens == 1024


@pytest.mark.parametrize("text", ["Hello, world", "Città, perché? ñandú", "你好 🦙", "a\n\n  b\t"])
def test_tokens_go_there_and_back(loaded, text):
    tokens = loaded.tokenize(text)
    assert tokens
    assert loaded.detokenize(tokens) == text


def test_nothing_of_a_long_text_is_lost(loaded):
    text = "hello there " * 6000
    assert loaded.detokenize(loaded.tokenize(text)) == text


def test_a_special_token_in_the_text_is_one_token(real):
    assert len(real.tokenize("<|im_end|>")) == 1


def test_an_answer_comes_in_pieces_and_ends_once(loaded):
    text, tokens, finish = loaded.generate(Prompt(text=STORY), GREEDY)
    assert text
    assert len(tokens) > 1
    assert finish.output_tokens <= 16
    assert finish.prompt_tokens > 0


def test_the_token_limit_holds_and_is_the_reason(loaded):
    _, _, finish = loaded.generate(Prompt(text=STORY), Sampling(temperature=0, num_predict=3))
    assert (finish.reason, finish.output_tokens) == ("length", 3)


def test_a_prompt_of_token_ids_reads_as_its_text(real):
    tokens = tuple(real.tokenize(STORY, add_special=True))
    by_text = real.generate(Prompt(text=STORY), GREEDY)[0]
    assert real.generate(Prompt(tokens=tokens), GREEDY)[0] == by_text


def test_nothing_of_a_stop_string_gets_through(loaded):
    free = loaded.generate(Prompt(text=STORY), Sampling(temperature=0, num_predict=24))[0]
    stop = free[len(free) // 2 : len(free) // 2 + 4]
    sampling = Sampling(temperature=0, num_predict=24, stop=(stop, "never written"))
    text, _, finish = loaded.generate(Prompt(text=STORY), sampling)
    assert text == free[: free.index(stop)]
    assert finish.reason == "stop"


def test_the_same_seed_gives_the_same_text_twice(loaded):
    sampling = Sampling(temperature=1.2, seed=42, num_predict=24)
    texts = {loaded.generate(Prompt(text=STORY), sampling)[0] for _ in range(2)}
    assert len(texts) == 1


def test_other_seeds_give_other_texts(real):
    texts = {
        real.generate(Prompt(text=STORY), Sampling(temperature=1.5, seed=s, num_predict=16))[0]
        for s in range(4)
    }
    assert len(texts) > 1


def test_greedy_is_the_same_alone_and_in_company(real):
    alone = real.generate(Prompt(text=STORY), GREEDY)[0]
    others = [real.start(Prompt(text=f"{i} {STORY}"), Sampling(num_predict=40)) for i in range(3)]
    together = real.generate(Prompt(text=STORY), GREEDY)[0]
    for id_ in others:
        list(real.read(id_))
    # Batches of another size add numbers in another order: the first words must agree.
    assert together[:20] == alone[:20]


def test_several_answers_are_written_at_once(real):
    ids = [real.start(Prompt(text=f"{i}. {STORY}"), Sampling(num_predict=48)) for i in range(4)]
    first = {}
    order = []
    readers = {i: real.read(i) for i in ids}
    for id_ in ids:
        first[id_] = next(readers[id_])
        order.append(id_)
    finishes = [list(reader)[-1] for reader in readers.values()]
    assert all(f.output_tokens > 0 for f in finishes)


def test_writing_stops_within_a_second_of_cancelling(real):
    id_ = real.start(Prompt(text=STORY), Sampling(num_predict=900, temperature=1.0))
    next(real.read(id_))
    real.cancel(id_)
    assert seconds_until_quiet(real, 4) < 1.0


def test_reading_a_prompt_stops_within_a_second_of_cancelling(real):
    prompt = Prompt(text=" ".join(f"w{i}" for i in range(310)))
    id_ = real.start(prompt, Sampling(num_predict=1))
    time.sleep(0.1)
    real.cancel(id_)
    assert seconds_until_quiet(real, 4) < 1.0


def test_a_cancelled_request_takes_nothing_from_the_next(real):
    before = real.generate(Prompt(text=STORY), GREEDY)[0]
    for _ in range(6):
        real.cancel(real.start(Prompt(text=STORY), Sampling(num_predict=500)))
    after = real.generate(Prompt(text=STORY), GREEDY)[0]
    # As above: those that are still leaving share a batch with this one.
    assert after.split()[:2] == before.split()[:2]


HILL = "the old house on the hill had many rooms and windows "


def cached(client: WorkerClient, text: str, scope: str) -> int:
    prompt = Prompt(text=text, scope=scope)
    return client.generate(prompt, Sampling(temperature=0, num_predict=2))[2].cached_tokens


def test_nothing_read_for_one_scope_is_used_for_another(real):
    shared = "First, " + 45 * HILL
    assert cached(real, f"{shared} one", "a") == 0
    assert cached(real, f"{shared} two", "b") == 0
    again = cached(real, f"{shared} three", "b"), cached(real, f"{shared} four", "a")
    assert min(again) > 400, "both have what was read for them"


def test_scopes_stay_apart_when_they_ask_at_once_and_go_away(real):
    shared = "Second, " + 8 * HILL

    def start(scope: str, output: int) -> int:
        prompt = Prompt(text=f"{shared} {scope}", scope=scope)
        return real.start(prompt, Sampling(temperature=0, num_predict=output))

    def finish(id_: int) -> int:
        return list(real.read(id_))[-1].cached_tokens

    assert [finish(id_) for id_ in [start(scope, 12) for scope in "abcd"]] == [0] * 4
    # More scopes than slots, some of which leave while their prompts wait or are being read.
    for scope in "efghij":
        real.cancel(start(scope, 50))
    assert [finish(id_) for id_ in [start(scope, 2) for scope in "klmn"]] == [0] * 4
    assert cached(real, f"{shared} o", "o") == 0


SCHEMAS = {
    "object": {
        "type": "object",
        "properties": {"name": {"type": "string", "maxLength": 8}, "age": {"type": "integer"}},
        "required": ["name", "age"],
        "additionalProperties": False,
    },
    "bounds": {
        "type": "array",
        "items": {"type": "string", "minLength": 20, "maxLength": 25},
        "minItems": 2,
        "maxItems": 2,
    },
    "no choice": {"const": {"a": ["b", 1]}},
    "limits": {"type": "number", "minimum": 5, "maximum": 7.5},
    "enumeration": {"enum": ["red", "green", "blue"]},
    "array": {
        "type": "array",
        "items": {"type": "boolean"},
        "minItems": 2,
        "maxItems": 3,
    },
    "choice": {
        "anyOf": [
            {
                "type": "object",
                "properties": {"ok": {"const": True}},
                "required": ["ok"],
                "additionalProperties": False,
            },
            {"type": "null"},
        ]
    },
    "reference": {
        "$defs": {"colour": {"enum": ["red", "green"]}},
        "type": "object",
        "properties": {"a": {"$ref": "#/$defs/colour"}},
        "required": ["a"],
        "additionalProperties": False,
    },
}


@pytest.mark.parametrize("name", SCHEMAS)
@pytest.mark.parametrize("temperature", [0.0, 1.5])
def test_a_json_schema_is_obeyed(loaded, name, temperature):
    prompt = Prompt(text="Answer as JSON: ", json_schema=SCHEMAS[name])
    sampling = Sampling(temperature=temperature, seed=5, num_predict=150)
    if "json_schema" not in loaded.ready.features:
        with pytest.raises(WorkerFailed, match="UnsupportedFeature"):
            loaded.generate(prompt, sampling)
        return
    text, _, finish = loaded.generate(prompt, sampling)
    assert finish.reason == "stop"
    assert violation(text, SCHEMAS[name]) == ""


def test_members_come_in_the_order_of_the_schema_and_text_in_any_script(loaded):
    if "json_schema" not in loaded.ready.features:
        return  # See above.
    names = ["zeta", "ключ", 'a "quoted" \\ key', "alpha"]
    schema = {
        "type": "object",
        "properties": {name: {"type": "string", "maxLength": 12} for name in names},
        "required": names,
        "additionalProperties": False,
    }
    prompt = Prompt(text="Ответ по-русски, JSON: ", json_schema=schema)
    text, tokens, finish = loaded.generate(prompt, Sampling(temperature=0.8, seed=3))
    assert finish.reason == "stop"
    assert list(json.loads(text)) == names
    assert violation(text, schema) == ""
    assert "".join(token.text for token in tokens) == text
    assert finish.output_tokens >= len([token for token in tokens if token.id >= 0])


@pytest.mark.parametrize("limit", [1, 4, 9])
def test_an_answer_by_a_schema_ends_at_its_limit(real, limit):
    if "json_schema" not in real.ready.features:
        return  # See above.
    schema = {
        "type": "object",
        "properties": {"description": {"type": "string", "minLength": 60}},
        "required": ["description"],
    }
    prompt = Prompt(text=STORY, json_schema=schema)
    text, _, finish = real.generate(prompt, Sampling(temperature=0, num_predict=limit))
    assert finish.reason == "length"
    assert finish.output_tokens == limit
    assert text.startswith("{")


def test_an_answer_by_a_schema_has_probabilities(loaded):
    if not {"json_schema", "logprobs"} <= set(loaded.ready.features):
        return  # See above.
    schema = {"type": "string", "maxLength": 18}
    prompt = Prompt(text=STORY, json_schema=schema)
    text, tokens, _ = loaded.generate(prompt, Sampling(temperature=0, logprobs=0))
    assert violation(text, schema) == ""
    assert all(t.logprob is not None and t.logprob <= 0 for t in tokens if t.id >= 0)


def test_any_object_is_an_object(loaded):
    if "json_schema" not in loaded.ready.features:
        return  # See above.
    prompt = Prompt(text="One short JSON object:", json_schema={"type": "object"})
    text, _, finish = loaded.generate(prompt, Sampling(temperature=0, num_predict=200))
    if finish.reason == "stop":
        assert isinstance(json.loads(text), dict)
    else:
        assert text.lstrip().startswith("{")


def test_log_probabilities_are_probabilities(loaded):
    if "logprobs" not in loaded.ready.features:
        return  # It says that it has none, and tasks refuse by that.
    alternatives = 3 if "top_logprobs" in loaded.ready.features else 0
    sampling = Sampling(temperature=0, num_predict=6, logprobs=alternatives)
    _, tokens, _ = loaded.generate(Prompt(text=STORY), sampling)
    told = [t for t in tokens if t.id >= 0]
    assert all(t.logprob is not None and t.logprob <= 0 for t in told)
    for token in told:
        assert len(token.top) == alternatives
        if token.top:
            assert token.top[0].logprob == max(t.logprob for t in token.top)
            assert token.top[0].id == token.id, "greedy takes the likeliest"


def test_a_prompt_that_does_not_fit_is_refused_by_name(real):
    with pytest.raises(WorkerFailed) as caught:
        real.generate(Prompt(text="word " * 3000), GREEDY)
    assert caught.value.frame.kind == "PromptTooLong"


def test_writing_ends_at_the_window_when_it_must_not_forget(real):
    prompt = Prompt(tokens=tuple(real.tokenize("word " * 1000)[:1000]))
    sampling = Sampling(temperature=0, num_predict=-1, shift=False)
    _, _, finish = real.generate(prompt, sampling)
    assert finish.prompt_tokens + finish.output_tokens <= 1024


def test_no_port_is_open_and_the_socket_is_private(real):
    assert [c for p in family(real) for c in p.net_connections(kind="inet")] == []
    run = real.scratch / "run"
    assert stat.S_IMODE(run.stat().st_mode) == 0o700


def test_the_engines_server_wants_its_key(real):
    import http.client
    import socket

    sockets = list((real.scratch / "run").glob("*.sock"))
    if not sockets:
        return  # It works in its own process: there is no server to ask.
    connection = http.client.HTTPConnection("localhost")
    connection.sock = socket.socket(socket.AF_UNIX)
    connection.sock.connect(str(sockets[0]))
    connection.request("POST", "/completion", '{"prompt": "x"}', {"Authorization": "Bearer no"})
    assert connection.getresponse().status == 401


@pytest.mark.parametrize("name", REAL)
def test_a_file_that_is_no_model_is_an_error_and_not_a_crash(name, request, tmp_path):
    """The store refuses it long before; an engine must still not take the worker down."""
    path = model_for(request, name)
    store = ModelStore(tmp_path / "models", cache_path=tmp_path)
    model = store.find_file(path)
    files = store.verified_files(model)
    broken = {}
    for number, (file, whole) in enumerate([*files.folder.items(), ("", files.weights)]):
        broken[file] = whole
        if Path(whole).suffix in (".gguf", ".xml", ".onnx"):
            broken[file] = str(tmp_path / f"{number}{Path(whole).suffix}")
            Path(broken[file]).write_bytes(Path(whole).read_bytes()[:200_000])
    engine, _, extra = name.partition("+")
    started = time.monotonic()
    with (
        pytest.raises((WorkerFailed, EOFError)),
        worker(
            engine,
            Path(weights) if (weights := broken.pop("")) else None,
            model,
            tmp_path / "run",
            llama_server=EXECUTABLE if extra == "executable" else "",
            folder=broken,
        ),
    ):
        pass
    assert time.monotonic() - started < 20


@pytest.mark.parametrize("name", variants())
def test_the_worker_ends_with_its_server_also_in_mid_answer(name, request, tmp_path):
    with open_worker(name, model_for(request, name), tmp_path) as client:
        client.start(Prompt(text=STORY), Sampling(num_predict=900))
        processes = family(client)
        client.pipe.close()
        _, alive = psutil.wait_procs(processes, 5)
        assert alive == []


@pytest.mark.parametrize("name", [n for n in REAL if n not in FOLDERS])
def test_vectors_of_an_embedder(name, e5_path, tmp_path):
    with open_worker(name, e5_path, tmp_path, num_ctx=512) as client:
        assert "embed" in client.ready.features
        texts = [f"passage: text number {i}" for i in range(40)]
        together = client.embed(*texts)
        alone = client.embed(texts[33])
        assert len(together.vectors) == 40
        assert {len(v) for v in together.vectors} == {384}
        assert together.tokens > 40
        assert alone.vectors[0] == pytest.approx(together.vectors[33], abs=2e-2)
        long = client.embed("passage: " + "parola " * 400, "short")
        assert len(long.vectors) == 2
        assert long.cut == ()
        assert client.embed("passage: " + "parola " * 900, "short").cut == (0,)
        with pytest.raises(WorkerFailed, match="exceeds the context"):
            client.embed("parola " * 900, truncate=False)


@pytest.mark.parametrize("name", [n for n in REAL if n not in FOLDERS])
def test_a_cancelled_embedding_is_left_after_a_few_texts(name, e5_path, tmp_path):
    with open_worker(name, e5_path, tmp_path, num_ctx=512) as client:
        texts = tuple(f"passage: {n} " + "parola " * 400 for n in range(64))
        began = time.monotonic()
        client.embed(*texts[:8])
        eight_seconds = time.monotonic() - began
        id_ = client.new_id()
        client.send(messages.Embed(id=id_, wanted=TextsToEmbed(texts=texts, window=512)))
        time.sleep(0.3)
        client.cancel(id_)
        # All of them would take eight times as long.
        assert seconds_until_quiet(client, 30) < 3 * eight_seconds + 1


@pytest.mark.parametrize("name", list(engines.SHELF.all()))
def test_adapters_take_effect_or_are_refused_by_name(name):
    details = ModelDetails(format={"openvino": "openvino", "onnx": "onnx"}.get(name, "gguf"))
    summary = ModelSummary(name="m", digest="", size_bytes=1, modified_at=0.0, details=details)
    plain = Model(summary=summary, weights_digest="w", architecture="llama")
    adapted = msgspec.structs.replace(plain, adapters=(("sha256:" + "0" * 64, 1.0),))
    refusal = engines.SHELF.load(name).refuses(adapted)
    if name in ("llama_cpp", "echo"):
        assert refusal == ""
    else:
        assert refusal == "it loads no adapters"
        assert engines.SHELF.load(name).refuses(plain) == ""
