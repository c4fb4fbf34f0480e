"""The cases that tasks are scored with hold together, and scores are what they say."""

from __future__ import annotations

import io
import json
import subprocess
import urllib.error
import urllib.request

import pytest

from bench import tasks
from bench.letters import FIELDS, write_letters
from bench.tasks import (
    CASES,
    KINDS,
    Asker,
    Score,
    best_threshold,
    calibration_gap,
    read_cases,
    rows,
)
from dimora.tasks.ready import compare
from dimora.tasks.ready._faithful import find_unsupported
from dimora.tasks.ready._values import find_equal, find_span
from dimora.tasks.ready.answer import entries_of


def test_letters_are_the_same_for_the_same_seed_and_hold_their_values():
    letters = write_letters(30)
    assert letters == write_letters(30)
    assert letters != write_letters(30, seed=2)
    for letter in letters:
        kinds = {f.split(":")[0]: f.split(":")[1] for f in FIELDS[letter.language]}
        for name, value in letter.values.items():
            words = str(value)
            assert find_span(words, letter.text) or find_equal(kinds[name], words, letter.text)


def test_planted_inventions_are_caught_but_for_a_name_alone_at_the_beginning_of_a_sentence():
    missed = []
    for case in read_cases("summarize"):
        assert find_unsupported(case["text"], case["text"]) == ()
        for sentence in case["plant"]:
            if not find_unsupported(f"{case['text']} {sentence}", case["text"]):
                missed.append(sentence)
    assert missed == ["Tesco bought the building."]


def test_questions_point_at_entries_that_there_are():
    faqs = json.loads((CASES / "faqs.json").read_text(encoding="utf-8"))
    for case in read_cases("answer"):
        assert 0 <= case["expect"] <= len(entries_of(faqs[case["faq"]]))


def test_contracts_differ_as_their_cases_say():
    for case in read_cases("compare"):
        changes, _ = compare.find_changes(case["text"], case["other"])
        assert [change.kind for change in changes] == case["expect"]


def test_what_is_looked_for_in_minutes_was_said():
    for case in read_cases("minutes"):
        assert all(who in case["text"] and due in case["text"] for who, due in case["expect"])


def test_every_kind_with_cases_is_scored_and_all_are_small():
    kinds = {path.stem for path in CASES.glob("*.jsonl")}
    assert kinds == set(KINDS)
    assert sum(path.stat().st_size for path in CASES.iterdir()) < 100_000


def test_a_model_as_sure_as_it_is_right_has_no_gap():
    assert calibration_gap([(0.5, True), (0.5, False)]) == 0
    assert calibration_gap([(1.0, False)]) == 1
    assert calibration_gap([]) == 0


def test_the_threshold_parts_texts_of_a_label_from_others():
    sure = [(0.9, True, True), (0.8, True, True), (0.6, False, False), (0.55, False, False)]
    assert 0.6 < best_threshold(sure) <= 0.8
    assert best_threshold([(0.3, True, True)]) == 0


def test_a_row_tells_scores_and_how_many_kept_their_schema(monkeypatch):
    def score(asker):
        asker.requests, asker.valid, asker.seconds = 4, 3, 8.0
        return Score(2, {"accuracy": 0.5})

    monkeypatch.setitem(KINDS, "draft", score)
    *_, row = rows(Asker("http://nowhere", "m"), ["draft"])
    assert row == "| draft | 2 | accuracy 0.50 | 3 of 4 | 2.0 |"


@pytest.mark.parametrize("kind", KINDS)
def test_a_refused_request_is_counted_and_not_scored(kind, monkeypatch):
    def refuse(request, timeout):
        raise urllib.error.HTTPError(request.full_url, 503, "busy", None, io.BytesIO(b"busy"))

    monkeypatch.setattr(urllib.request, "urlopen", refuse)
    asker = Asker("http://nowhere", "m")
    *_, row = rows(asker, [kind])
    assert asker.refused == asker.requests >= 3
    assert f"| 0 of {asker.refused}, {asker.refused} refused |" in row


def test_one_refused_request_lowers_no_score(monkeypatch):
    answers = [_said("negative"), None, _said("positive")]
    cases = [{"text": word, "expect": word} for word in ("negative", "neutral", "positive")]

    def answer(request, timeout):
        if (told := answers.pop(0)) is None:
            raise urllib.error.HTTPError(request.full_url, 503, "busy", None, io.BytesIO(b"busy"))
        return io.BytesIO(json.dumps({"result": told}).encode())

    monkeypatch.setattr(urllib.request, "urlopen", answer)
    monkeypatch.setattr(tasks, "read_cases", lambda kind: cases)
    *_, row = rows(Asker("http://nowhere", "m"), ["sentiment"])
    assert "| accuracy 1.00, calibration error 0.00 | 2 of 3, 1 refused |" in row


def _said(feeling):
    shares = {"positive": 0.0, "neutral": 0.0, "negative": 0.0, feeling: 1.0}
    score = shares["positive"] - shares["negative"]
    return {"sentiment": feeling, "score": score, **shares}


def test_code_of_a_model_runs_only_when_its_kind_is_named():
    assert set(KINDS) - set(tasks.USUAL_KINDS) == {"code"}


@pytest.mark.parametrize("check", [tasks._tests_hold, tasks._code_holds])
def test_code_that_does_not_end_does_not_hold(check, monkeypatch):
    def hang(command, timeout, **more):
        raise subprocess.TimeoutExpired(command, timeout)

    monkeypatch.setattr(subprocess, "run", hang)
    assert not check({"code": "", "tests": "", "untested": []}, {"code": ""}, "")


@pytest.mark.parametrize("kind", KINDS)
def test_cases_are_in_three_languages_or_of_one_kind(kind):
    assert len(read_cases(kind)) >= 3
