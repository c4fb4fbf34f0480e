"""The worker process with the engine that needs no model."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from dimora.prompts.prompt import Prompt
from dimora.runtime import messages
from dimora.tasks.base import Model, ModelDetails, ModelSummary
from dimora.tasks.options import Sampling
from tests.worker_client import WorkerClient, WorkerFailed, worker

MODEL = Model(
    summary=ModelSummary(
        name="none", digest="", size_bytes=0, modified_at=0, details=ModelDetails()
    ),
    weights_digest="",
)


@pytest.fixture
def client(tmp_path: Path) -> WorkerClient:
    with worker("echo", tmp_path / "none", MODEL, tmp_path / "run") as one:
        yield one


def test_nothing_of_the_server_is_imported():
    """It would cost every model loaded time and memory."""
    program = (
        "import sys; import dimora.runtime.worker; "
        "print(*{'asyncio', 'http', 'psutil', 'starlette', 'jinja2'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (done.returncode, done.stdout.strip()) == (0, "")


def test_an_answer_comes_back_whole(client):
    text, _, finish = client.generate(Prompt(text="say this again"), Sampling())
    assert (text, finish.reason) == ("say this again", "stop")


def test_an_error_names_its_kind_and_nothing_of_the_prompt(client):
    schema = {"type": "string", "pattern": "^secret$"}
    with pytest.raises(WorkerFailed) as caught:
        client.generate(Prompt(text="private words", json_schema=schema), Sampling())
    assert caught.value.frame.kind == "UnsupportedFeature"
    assert "private" not in caught.value.frame.message


def test_the_worker_goes_on_after_an_error(client):
    with pytest.raises(WorkerFailed):
        client.generate(Prompt(text="a", json_schema={"pattern": "^a$"}), Sampling())
    assert client.tokenize("ab") == [97, 98]


def test_an_engine_that_is_not_there_is_named(tmp_path):
    with pytest.raises(WorkerFailed) as caught, worker("nobody", tmp_path, MODEL, tmp_path / "run"):
        pass
    assert "nobody" in caught.value.frame.message


def test_the_worker_ends_when_the_other_end_closes(client):
    client.pipe.close()
    assert client.process.wait(5) == 0


def test_the_worker_ends_when_it_is_sent_nonsense(client):
    client.pipe.sendall(b"\xff\xff\xff\xff")
    assert client.process.wait(5) == 0


def test_cancelling_what_is_not_there_does_nothing(client):
    client.send(messages.Cancel(id=999))
    assert client.detokenize([104, 105]) == "hi"
