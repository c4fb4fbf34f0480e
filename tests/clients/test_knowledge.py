"""Documents at the terminal and through clients, with a real server and real small models.

The chat model is tiny: what is checked is what was found, shown and cited, not its prose.
"""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import ollama
import openai
import pytest

from tests.conftest import CHAT_MODEL, EMBED_MODEL, Server, copy_home, run_dimora, serving

CANARY = "zaffiro7731"
FILES = {
    "en/lease.md": "# Lease\n\n## Rent\n\nThe rent is 850 euros a month, to be paid by the fifth."
    "\n\n## Notice\n\nThe tenant may leave with six months' notice, by registered letter.\n",
    "it/caldaia.md": "# Caldaia\n\n## Pressione\n\nLa pressione dell'acqua sta tra 1,2 e 1,8 bar."
    "\n\n## Manutenzione\n\nIl filtro va pulito una volta l'anno da un tecnico.\n",
    "es/vacaciones.txt": "Cada empleado tiene veintitrés días laborables de vacaciones al año, y"
    " las solicita con quince días de antelación.\n",
    "en/secret.txt": f"The canary is called {CANARY} and sings at noon.\n",
    "broken.pdf": "%PDF-1.7 and nothing more",
}
QUESTIONS = {
    "How much is the rent a month?": "docs/en/lease.md",
    "A quanti bar deve stare la pressione della caldaia?": "docs/it/caldaia.md",
    "¿Cuántos días de vacaciones tiene un empleado?": "docs/es/vacaciones.txt",
    "Quanti giorni di ferie ha un dipendente?": "docs/es/vacaciones.txt",
    "How many months of notice does the tenant give?": "docs/en/lease.md",
}
SHORT = {"num_predict": 24, "temperature": 0}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("papers") / "docs"
    for name, text in FILES.items():
        (made / name).parent.mkdir(parents=True, exist_ok=True)
        (made / name).write_text(text)
    return made


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory, model_home: Path) -> Iterator[Server]:
    """A server of these tests' own."""
    home = copy_home(model_home, tmp_path_factory.mktemp("knowing") / "home")
    with serving(home, DIMORA_KEEP_ALIVE="-1") as running:
        yield running


@pytest.fixture(scope="module")
def terminal(own: Server) -> Callable[..., CompletedProcess[str]]:
    """`dimora ...` with that server."""

    def run(*words: str, **how: Any) -> CompletedProcess[str]:
        return run_dimora(*words, home=own.home, DIMORA_HOST=f"127.0.0.1:{own.port}", **how)

    return run


@pytest.fixture(scope="module")
def added(terminal: Callable[..., CompletedProcess[str]], folder: Path) -> None:
    done = terminal("knowledge", "add", str(folder), check=False)
    # One cannot be read: it is named, and costs nothing but the exit code.
    assert done.returncode == 1
    assert "docs/broken.pdf: it is broken, or no PDF" in done.stderr
    assert "4 added" in done.stdout and "1 failed" in done.stdout


@pytest.fixture(scope="module")
def landlord(terminal: Callable[..., CompletedProcess[str]], folder: Path) -> str:
    """A model with FILEs."""
    modelfile = f"FROM {CHAT_MODEL}\nFILE {folder}/en/lease.md\nFILE {folder}/it\n"
    done = terminal("create", "landlord", "-f", "-", stdin=modelfile)
    assert "Warning" not in done.stderr
    return "landlord"


@pytest.mark.usefixtures("added")
class TestAtTheTerminal:
    def test_files_that_are_sent_again_are_not_read_again(self, terminal, folder):
        done = terminal("knowledge", "add", str(folder), check=False)
        assert done.stdout == "1 failed, 4 unchanged\n"

    def test_questions_find_their_document_in_three_languages_and_across(self, terminal):
        for question, name in QUESTIONS.items():
            told = json.loads(terminal("knowledge", "search", question, "--json").stdout)
            assert told["passages"][0]["document"] == name, question

    def test_a_search_is_narrowed(self, terminal):
        words = ("knowledge", "search", "rent a month", "--json")
        for narrow in (("--language", "it"), ("--document", "docs/it/caldaia.md")):
            told = json.loads(terminal(*words, *narrow).stdout)
            assert {p["document"] for p in told["passages"]} == {"docs/it/caldaia.md"}
        assert json.loads(terminal(*words, "--type", "pdf").stdout)["passages"] == []
        assert json.loads(terminal(*words, "--since", "2999-01-01").stdout)["passages"] == []
        assert json.loads(terminal(*words, "--since", "2000-01-01").stdout)["passages"]

    @pytest.mark.parametrize("model", [EMBED_MODEL, CHAT_MODEL])
    def test_a_model_may_order_what_was_found(self, terminal, model):
        words = ("knowledge", "search", "How much is the rent a month?", "--json")
        found, again = (
            json.loads(terminal(*words, *more).stdout)["passages"]
            for more in ((), ("--rerank", model))
        )
        assert sorted(p["document"] for p in found) == sorted(p["document"] for p in again)
        if model == EMBED_MODEL:
            assert [p["similarity"] for p in again] == sorted(
                (p["similarity"] for p in again), reverse=True
            )
        done = terminal(*words, "--rerank", "nobody", check=False)
        assert done.returncode == 1 and "nobody" in done.stderr

    def test_an_answer_has_its_sources_below(self, terminal):
        done = terminal("knowledge", "ask", "How much is the rent a month?")
        answer, _, sources = done.stdout.rpartition("\n\n")
        assert answer.strip() and "docs/en/lease.md, Rent" in sources

    def test_what_no_document_speaks_of_is_said_so(self, terminal):
        words = ("knowledge", "ask", "--type", "pdf", "--json")
        told = json.loads(terminal(*words, "Chi ha vinto il mondiale del 1982?").stdout)
        assert told["answer"] == "Non ho trovato nulla su questo nei tuoi documenti."
        assert (told["found"], told["citations"]) == (False, [])
        assert told["usage"]["output_tokens"] == 0

    def test_status_list_and_export_tell_what_is_there(self, terminal):
        told = terminal("knowledge", "status").stdout
        assert f"4 documents, 6 passages, by {EMBED_MODEL}" in told
        assert "not read: docs/broken.pdf: it is broken, or no PDF" in told
        (listed,) = json.loads(terminal("knowledge", "list", "--json").stdout)
        assert (listed["documents"], listed["failed"], listed["hidden"]) == (4, 1, False)
        lines = [json.loads(line) for line in terminal("knowledge", "export").stdout.splitlines()]
        pieces = [line["piece"]["text"] for line in lines if "piece" in line]
        assert len(pieces) == 6 and any("1,8 bar" in text for text in pieces)

    def test_what_is_removed_is_gone_from_answers_rows_and_disk(self, terminal, own, folder):
        words = ("knowledge", "search", f"the canary {CANARY}", "--json")
        assert CANARY in terminal(*words).stdout
        terminal("knowledge", "remove", "docs/en/secret.txt")
        found = json.loads(terminal(*words).stdout)["passages"]
        assert all(CANARY not in json.dumps(passage) for passage in found)
        assert CANARY not in terminal("knowledge", "export").stdout
        (folder / "en" / "secret.txt").unlink()
        kept = b"".join(p.read_bytes() for p in (own.home / "knowledge").rglob("*") if p.is_file())
        assert kept and CANARY.encode() not in kept
        assert CANARY not in (own.home / "log" / "audit.jsonl").read_text()


def post(own: Server, path: str, body: dict[str, Any]) -> list[dict[str, Any]]:
    asked = urllib.request.Request(
        f"{own.url}{path}", json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(asked, timeout=120) as answer:
        return [json.loads(line) for line in answer.read().splitlines() if line.strip()]


ASKED = [{"role": "user", "content": "How much is the rent a month?"}]


class TestAModelWithFiles:
    def test_it_answers_from_them_in_ollamas_words(self, own, landlord):
        body = {"model": landlord, "messages": ASKED, "options": SHORT}
        (whole,) = post(own, "/api/chat", body | {"stream": False})
        first = whole["citations"][0]
        assert (first["document"], first["where"]) == ("lease.md", "lease.md, Rent")
        assert "850 euros" in first["text"] and first["number"] >= 1
        *pieces, last = post(own, "/api/chat", body)
        assert last["done"] and last["citations"] == whole["citations"]
        assert not any("citations" in piece for piece in pieces)
        prompt = {"model": landlord, "prompt": ASKED[0]["content"], "options": SHORT}
        assert post(own, "/api/generate", prompt)[-1]["citations"]

    def test_it_can_be_told_not_to(self, own, landlord):
        off = {"stream": False, "options": SHORT, "retrieve": False, "model": landlord}
        (plain,) = post(own, "/api/chat", off | {"messages": ASKED})
        (with_files,) = post(own, "/api/chat", off | {"messages": ASKED, "retrieve": True})
        assert "citations" not in plain and "warnings" not in plain
        assert plain["prompt_eval_count"] < with_files["prompt_eval_count"]
        (raw,) = post(own, "/api/generate", off | {"prompt": "x", "raw": True, "retrieve": True})
        assert "citations" not in raw

    def test_ollamas_client_reads_its_answers(self, own, landlord):
        client = ollama.Client(own.url)
        told = client.chat(landlord, ASKED, options=SHORT)
        assert told.message.content and told.prompt_eval_count > 60
        parts = list(client.chat(landlord, ASKED, options=SHORT, stream=True))
        assert parts[-1].done

    def test_openais_client_has_the_citations_in_an_extra_field(self, own, landlord):
        client = openai.OpenAI(base_url=f"{own.url}/v1", api_key="none")
        asked: dict[str, Any] = {"model": landlord, "messages": ASKED, "max_tokens": 24, "seed": 1}
        told = client.chat.completions.create(**asked)
        assert told.model_extra["citations"][0]["document"] == "lease.md"
        *pieces, last = client.chat.completions.create(**asked, stream=True)
        assert last.choices[0].finish_reason and last.model_extra["citations"]
        assert not any("citations" in piece.model_extra for piece in pieces)
        plain = client.chat.completions.create(**asked, extra_body={"retrieve": False})
        assert "citations" not in plain.model_extra

    def test_the_terminal_names_its_sources(self, terminal, landlord):
        done = terminal("run", landlord, ASKED[0]["content"], "--option", "num_predict=24")
        assert "lease.md, Rent" in done.stdout


def test_without_a_server_folders_are_remembered_and_followed(own, tmp_path):
    """In the server's own home, beside it."""

    def run(*words: str) -> str:
        told = run_dimora("knowledge", *words, "--collection", "papers", home=own.home).stdout
        return ", ".join(sorted(told.strip().split(", ")))

    papers = tmp_path / "papers"
    papers.mkdir()
    (papers / "lease.md").write_text(FILES["en/lease.md"])
    assert run("add", str(papers)) == "1 added"
    (papers / "lease.md").write_text(FILES["en/lease.md"].replace("850", "900"))
    (papers / "new.md").write_text(FILES["it/caldaia.md"])
    assert run("add") == "1 added, 1 replaced"
    (papers / "new.md").unlink()
    assert run("add", str(papers)) == "1 removed, 1 unchanged"
    assert f"from {papers}" in run("status")
    run("remove", "--all")
    told = run_dimora("knowledge", "list", "--json", home=own.home).stdout
    assert "papers" not in {each["name"] for each in json.loads(told)}
