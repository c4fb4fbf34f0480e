"""Ready tasks over HTTP and at the terminal, with a real server and a real small model.

A small model is not wise: what is checked is the form of what comes back, and what code promises.
"""

from __future__ import annotations

import csv
import json
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from dimora import tasks
from dimora.tasks.ready._docx import Document
from dimora.tasks.ready._placeholders import placeholders_of
from dimora.tasks.ready.base import result_schema
from tests.conftest import CHAT_MODEL, run_dimora
from tests.unit.tasks.ready.test_docx import package

NAMES = tasks.READY.names()
EXAMPLES = Path(__file__).parents[2] / "examples/tasks"


def post(server, name: str, body: dict) -> tuple[int, dict]:
    asked = urllib.request.Request(
        f"{server.url}/v1/tasks/{name}",
        json.dumps(body).encode(),
        {"Content-Type": "application/json"},
    )
    try:
        with urllib.request.urlopen(asked, timeout=120) as answer:
            return answer.status, json.loads(answer.read())
    except urllib.error.HTTPError as error:
        return error.code, json.loads(error.read())


@pytest.mark.parametrize("name", NAMES)
def test_its_example_gives_a_result_that_matches_its_schema(server, name):
    task = tasks.READY.load(name)
    status, told = post(server, name, {**task.EXAMPLE, "model": CHAT_MODEL})
    assert status == 200, told
    Draft202012Validator(result_schema(task)).validate(told["result"])
    assert told["task"] == name
    assert told["language"] in ("it", "es", "en")
    assert told["usage"]["completion_tokens"] > 0


def test_the_list_tells_fields_and_schemas(server):
    with urllib.request.urlopen(f"{server.url}/v1/tasks", timeout=10) as answer:
        listed = json.loads(answer.read())["data"]
    assert [task["id"] for task in listed] == NAMES
    assert all(task["result_schema"] and task["fields"] for task in listed)


def test_probabilities_add_up_and_follow_the_order(server):
    body = {"model": CHAT_MODEL, "text": "The dog barks.", "labels": ["animals", "cars", "music"]}
    status, told = post(server, "classify", body)
    assert status == 200
    found = [one["probability"] for one in told["result"]["probabilities"]]
    assert sum(found) == pytest.approx(1, abs=0.001)
    assert found == sorted(found, reverse=True)
    _, other = post(server, "classify", {**body, "threshold": 1.0})
    assert other["result"]["label"] in ("other", told["result"]["label"])


def test_a_long_text_is_read_in_parts(server):
    text = "\n\n".join(f"On day {n} the ship stood at anchor before Genoa." for n in range(1, 80))
    body = {"model": CHAT_MODEL, "text": text, "options": {"num_ctx": 1024, "num_predict": 60}}
    status, told = post(server, "summarize", body)
    assert status == 200, told
    assert told["result"]["parts"] > 1
    for one in told["result"]["unsupported"]:
        assert one["value"] not in text


def test_extracted_values_stand_where_they_are_said_to_stand(server):
    task = tasks.READY.load("extract")
    _, told = post(server, "extract", {**task.EXAMPLE, "model": CHAT_MODEL})
    for field in told["result"]["fields"]:
        if field["start"] >= 0:
            assert task.EXAMPLE["text"][field["start"] : field["end"]] == field["words"]
        else:
            assert field["value"] is None
        assert 0 <= field["confidence"] <= 1


def test_no_placeholder_mark_or_block_of_code_is_lost_in_a_translation(server):
    text = "# Hi {name}\n\n- You have %d of %s\n\n```sh\nrm -i x\n```\n> See https://a.example/b\n"
    status, told = post(server, "translate", {"model": CHAT_MODEL, "text": text, "target": "it"})
    assert status == 200, told
    found = told["result"]["translation"]
    assert placeholders_of(found) == placeholders_of(text)
    lines = found.splitlines()
    assert [line[:2] for line in lines] == ["# ", "", "- ", "", "``", "rm", "``", "> "]
    assert lines[5] == "rm -i x"


def test_a_translated_file_keeps_its_shape(server):
    text = '{"a": {"title": "Good morning, {name}!"}, "n": [1, null, "42"]}'
    status, told = post(server, "translate", {"model": CHAT_MODEL, "text": text, "target": "es"})
    assert status == 200, told
    found = json.loads(told["result"]["translation"])
    assert told["result"]["form"] == "json"
    assert found["n"] == [1, None, "42"]
    assert "{name}" in found["a"]["title"]


def test_what_no_entry_speaks_of_is_handed_over(server):
    task = tasks.READY.load("answer")
    body = {**task.EXAMPLE, "model": CHAT_MODEL, "question": "Do you sell umbrellas?"}
    status, told = post(server, "answer", body)
    assert status == 200
    assert told["result"]["handed_over"] is True
    assert told["result"]["citations"] == []
    _, other = post(server, "answer", {**task.EXAMPLE, "model": CHAT_MODEL, "threshold": 0})
    assert other["result"]["handed_over"] is False
    (cited,) = other["result"]["citations"]
    assert cited["passage"] in task.EXAMPLE["faq"]


def test_every_difference_of_two_contracts_is_told(server):
    task = tasks.READY.load("compare")
    _, told = post(server, "compare", {**task.EXAMPLE, "model": CHAT_MODEL})
    assert [d["kind"] for d in told["result"]["differences"]] == ["changed", "added", "removed"]
    assert told["result"]["same"] == 1


@pytest.mark.parametrize(
    ("name", "body", "status", "param"),
    [
        ("classify", {"text": "x", "labels": ["a"]}, 400, "labels"),
        ("classify", {"text": "x"}, 400, None),
        ("classify", {"text": "x", "labels": ["a", "b"], "threshold": 7}, 400, "threshold"),
        ("summarize", {"text": " "}, 400, "text"),
        ("summarize", {"text": "x", "form": "poem"}, 400, "form"),
        ("summarize", {"text": "x", "language": "fr"}, 400, "language"),
        ("extract", {"text": "x", "fields": ["a:colour"]}, 400, "fields"),
        ("no-such", {"text": "x"}, 404, "name"),
        ("chat", {"text": "x"}, 404, "name"),
    ],
)
def test_what_is_wrong_is_told_in_openais_shape(server, name, body, status, param):
    found, told = post(server, name, {"model": CHAT_MODEL, **body})
    assert found == status
    assert told["error"]["type"] and told["error"]["message"]
    assert told["error"]["param"] == param


def test_a_stream_tells_progress_then_the_result_then_its_end(server):
    asked = urllib.request.Request(
        f"{server.url}/v1/tasks/summarize",
        json.dumps({"model": CHAT_MODEL, "text": "The sun is warm.", "stream": True}).encode(),
    )
    with urllib.request.urlopen(asked, timeout=60) as answer:
        frames = [f[6:] for f in answer.read().decode().split("\n\n") if f.startswith("data: ")]
    assert frames[-1] == "[DONE]"
    kinds = [json.loads(f)["object"] for f in frames[:-1]]
    assert kinds == ["task.progress"] * (len(kinds) - 1) + ["task.result"]


def test_the_audit_log_has_one_line_for_a_task_and_no_word_of_the_text(server):
    before = (server.home / "log" / "audit.jsonl").read_text().count('"classify"')
    post(
        server,
        "classify",
        {"model": CHAT_MODEL, "text": "canary-4711 sings", "labels": ["bird", "fish"]},
    )
    log = (server.home / "log" / "audit.jsonl").read_text()
    assert log.count('"classify"') == before + 1
    assert "canary" not in log


def test_the_terminal_does_a_task_and_prints_it(home):
    told = run_dimora(
        "do", "classify", "--labels", "cats", "--labels", "dogs", "--json", "It purrs.", home=home
    )
    assert json.loads(told.stdout)["label"] in ("cats", "dogs")


def test_a_batch_goes_on_where_it_was_left(home, tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    for name, text in (("a.txt", "It purrs."), ("b.txt", ""), ("c.txt", "It barks.")):
        (folder / name).write_text(text)
    out = tmp_path / "out.csv"
    words = ("do", "classify", "--labels", "cats", "--labels", "dogs")
    batch = (*words, "--in", str(folder), "--out", str(out))
    first = run_dimora(*batch, home=home, check=False)
    assert first.returncode == 1
    assert "2 done, 1 failed" in first.stderr
    with out.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(r["input"], bool(r["error"])) for r in rows] == [
        ("a.txt", False),
        ("b.txt", True),
        ("c.txt", False),
    ]
    (folder / "b.txt").write_text("It purrs too.")
    second = run_dimora(*batch, home=home)
    assert "1 done, 2 were there" in second.stderr
    with out.open(newline="") as file:
        assert not any(row["error"] for row in csv.DictReader(file))


def test_a_folder_of_invoices_becomes_a_table_with_a_column_for_each_field(home, tmp_path):
    out = tmp_path / "invoices.csv"
    fields = ("--fields", "number", "--fields", "date:date")
    folder = str(EXAMPLES / "invoices")
    run_dimora(
        "do", "extract", "--in", folder, "--out", str(out), *fields, home=home, timeout_seconds=300
    )
    with out.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["input"] for row in rows] == ["bianchi.txt", "harlow.txt", "quintana.txt"]
    columns = ["input", "number", "date", "complete", "doubtful", "error", "hash"]
    assert [list(row) for row in rows] == [columns] * 3
    assert all(row["date"] == "" or row["date"].startswith("2026-") for row in rows)


def test_a_word_document_is_translated_into_a_word_document(home, tmp_path):
    letter = tmp_path / "letter.docx"
    letter.write_bytes(package())
    out = tmp_path / "lettera.docx"
    words = ("do", "translate", "--file", str(letter), "--target", "it")
    run_dimora(*words, "--save", str(out), home=home)
    assert len(list(Document(out.read_bytes()).paragraphs)) == 6
    refused = run_dimora(*words, home=home, check=False)
    assert refused.returncode != 0 and "--save" in refused.stderr
