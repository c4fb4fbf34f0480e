"""Scores the ready tasks with one model, over cases of ours in three languages.

    python -m bench.tasks --url http://127.0.0.1:11434 --model NAME [KIND ...]

Asks a running server. Every result is held against the JSON Schema of its task. A kind prints one
line of a Markdown table, and with --verbose each case that went wrong. Code that the model wrote is
run, in a process of its own: name the kind `code` only where that is all right.
"""

from __future__ import annotations

import argparse
import json
import sqlite3
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from jsonschema import Draft202012Validator

from bench.letters import FIELDS, write_letters
from dimora import tasks
from dimora.core.languages import detect_language
from dimora.tasks.ready._diff import apply_diff
from dimora.tasks.ready._faithful import find_unsupported, numbers_of
from dimora.tasks.ready._placeholders import placeholders_of
from dimora.tasks.ready._shapes import form_of, take_apart
from dimora.tasks.ready.base import result_schema

CASES = Path(__file__).with_name("task_cases")
_SECONDS_AT_MOST = 600
_CODE_SECONDS = 20
_LIBRARY = """CREATE TABLE book (id INTEGER PRIMARY KEY, title TEXT, author TEXT);
CREATE TABLE loan (id INTEGER PRIMARY KEY, book_id INTEGER, reader TEXT, lent_on DATE);
"""
_ROWS = """INSERT INTO book VALUES
    (1, 'Dune', 'Herbert'), (2, 'Emma', 'Austen'), (3, 'Ulysses', 'Joyce');
INSERT INTO loan VALUES
    (1, 1, 'Ada', '2026-01-05'), (2, 1, 'Bo', '2026-02-07'), (3, 3, 'Ada', '2026-03-01');
"""


class Asked(NamedTuple):
    """One answer of the server; `fault` says why there is none, or that it breaks its schema."""

    result: dict[str, Any]
    fault: str
    seconds: float


class Asker:
    """Asks a server, and counts answers and those that keep to their schema."""

    def __init__(self, url: str, model: str, *, every: int = 1, verbose: bool = False) -> None:
        self.answers = self.valid = 0
        self.seconds = 0.0
        self.every = every
        self._url, self._model, self._verbose = url.rstrip("/"), model, verbose

    def ask(self, task: str, fields: dict[str, Any]) -> Asked:
        body = json.dumps({"model": self._model, **fields}).encode()
        request = urllib.request.Request(
            f"{self._url}/v1/tasks/{task}", body, {"Content-Type": "application/json"}
        )
        started = time.monotonic()
        result, fault = {}, ""
        try:
            with urllib.request.urlopen(request, timeout=_SECONDS_AT_MOST) as answer:
                result = json.loads(answer.read())["result"]
        except urllib.error.HTTPError as why:
            fault = why.read().decode()[:300]
        seconds = time.monotonic() - started
        self.answers += 1
        self.seconds += seconds
        if not fault:
            schema = result_schema(tasks.READY.load(task))
            broken = next(Draft202012Validator(schema).iter_errors(result), None)
            fault = broken.message[:300] if broken else ""
        self.valid += not fault
        return Asked(result, fault, seconds)

    def cases(self, kind: str) -> list[dict[str, Any]]:
        """The cases of a kind, or every second, third, ... of them."""
        return read_cases(kind)[:: self.every]

    def tell(self, *words: object) -> None:
        """Of a case that went wrong."""
        if self._verbose:
            print("  ", *words, file=sys.stderr, flush=True)


class Score(NamedTuple):
    """What came out, in the order it is told: shares from 0 to 1, and counts."""

    cases: int
    figures: dict[str, float]


def read_cases(kind: str) -> list[dict[str, Any]]:
    lines = (CASES / f"{kind}.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


def _share(part: float, whole: float) -> float:
    return part / whole if whole else 0.0


def score_extract(asker: Asker) -> Score:
    """Invoices of the generator and letters by hand; a value is right when it is equal."""
    cases = [
        (list(FIELDS[letter.language]), letter.text, letter.values) for letter in write_letters(24)
    ]
    cases = cases[:: asker.every]
    cases += [(c["fields"], c["text"], c["expect"]) for c in asker.cases("extract")]
    right = told = wanted = 0
    sure: dict[bool, list[float]] = {True: [], False: []}
    for fields, text, expect in cases:
        found = asker.ask("extract", {"text": text, "fields": fields})
        for value in found.result.get("fields", ()):
            meant = expect[value["name"]]
            hit = _same(value["value"], meant)
            told += value["value"] is not None
            right += hit and meant is not None
            if value["value"] is not None:
                sure[hit].append(value["confidence"])
            if not hit:
                asker.tell(value["name"], "wanted", meant, "got", value)
        wanted += sum(meant is not None for meant in expect.values())
    precision, recall = _share(right, told), _share(right, wanted)
    return Score(
        len(cases),
        {
            "F1": _share(2 * precision * recall, precision + recall),
            "precision": precision,
            "recall": recall,
            "mean confidence of right values": _share(sum(sure[True]), len(sure[True])),
            "of wrong ones": _share(sum(sure[False]), len(sure[False])),
        },
    )


def _same(value: Any, meant: Any) -> bool:
    if isinstance(value, str) and isinstance(meant, str):
        return value.strip(" .").casefold() == meant.casefold()
    if isinstance(value, bool) or isinstance(meant, bool):
        return value is meant
    return bool(value == meant)


def score_sentiment(asker: Asker) -> Score:
    cases = asker.cases("sentiment")
    right, gap, sure = 0, 0.0, []
    for case in cases:
        found = asker.ask("sentiment", {"text": case["text"]}).result
        hit = found["sentiment"] == case["expect"]
        right += hit
        sure.append((max(found["positive"], found["neutral"], found["negative"]), hit))
        if not hit:
            asker.tell(case["expect"], found, case["text"])
    gap = calibration_gap(sure)
    return Score(len(cases), {"accuracy": _share(right, len(cases)), "calibration error": gap})


def calibration_gap(sure: list[tuple[float, bool]], bins: int = 5) -> float:
    """Expected calibration error (Guo et al. 2017): how far probability and success are apart."""
    gap = 0.0
    for number in range(bins):
        inside = [(p, hit) for p, hit in sure if number / bins < p <= (number + 1) / bins]
        if inside:
            mean = sum(p for p, _ in inside) / len(inside)
            gap += abs(mean - sum(hit for _, hit in inside) / len(inside)) * len(inside)
    return _share(gap, len(sure))


def score_classify(asker: Asker) -> Score:
    """Three labels, and texts of none. The threshold of one half is used on the other."""
    cases = asker.cases("classify")
    sure: list[tuple[float, bool, bool]] = []
    for case in cases:
        found = asker.ask("classify", {"text": case["text"], "labels": case["labels"]}).result
        of_a_label = case["expect"] != "other"
        hit = found["label"] == case["expect"]
        sure.append((found["probability"], hit, of_a_label))
        if not hit:
            asker.tell(case["expect"], found["label"], found["probability"], case["text"])
    labelled = [hit for _, hit, of_a_label in sure if of_a_label]
    halves = (sure[::2], sure[1::2])
    other = [_accuracy(halves[1 - n], best_threshold(halves[n])) for n in (0, 1)]
    return Score(
        len(cases),
        {
            "accuracy of labels": _share(sum(labelled), len(labelled)),
            "accuracy with other, threshold of the other half": sum(other) / 2,
            "threshold": best_threshold(sure),
        },
    )


def best_threshold(sure: list[tuple[float, bool, bool]]) -> float:
    """Below which a text is of no label, so that most cases are right."""
    tried = [n / 20 for n in range(20)]
    return max(tried, key=lambda threshold: (_accuracy(sure, threshold), -threshold))


def _accuracy(sure: list[tuple[float, bool, bool]], threshold: float) -> float:
    right = sum(hit if p >= threshold else not of_a_label for p, hit, of_a_label in sure)
    return _share(right, len(sure))


def score_moderate(asker: Asker) -> Score:
    cases = asker.cases("moderate")
    counts: Counter[str] = Counter()
    for case in cases:
        found = asker.ask("moderate", {"text": case["text"]}).result
        flagged = [c["category"] for c in found["categories"] if c["flagged"]]
        counts["wanted"] += bool(case["expect"])
        counts["flagged"] += bool(flagged)
        counts["right"] += bool(flagged and case["expect"])
        counts["category"] += bool(set(flagged) & set(case["expect"]))
        if bool(flagged) != bool(case["expect"]):
            shares = {c["category"]: c["probability"] for c in found["categories"]}
            asker.tell(case["expect"], shares, case["text"])
    return Score(
        len(cases),
        {
            "precision": _share(counts["right"], counts["flagged"]),
            "recall": _share(counts["right"], counts["wanted"]),
            "with the right category": _share(counts["category"], counts["wanted"]),
        },
    )


def score_summarize(asker: Asker) -> Score:
    """Share without inventions; and the share of planted ones that the check finds."""
    cases = asker.cases("summarize")
    faithful = planted = caught = shorter = same = 0
    for case in cases:
        found = asker.ask("summarize", {"text": case["text"]}).result
        faithful += found["faithful"]
        shorter += len(found["summary"]) < len(case["text"])
        same += detect_language(found["summary"]) == detect_language(case["text"])
        if not found["faithful"]:
            asker.tell(found["unsupported"], found["summary"])
        for sentence in case["plant"]:
            planted += 1
            caught += bool(find_unsupported(f"{found['summary']} {sentence}", case["text"]))
    return Score(
        len(cases),
        {
            "without inventions": _share(faithful, len(cases)),
            "planted inventions caught": _share(caught, planted),
            "shorter": _share(shorter, len(cases)),
            "in the text's language": _share(same, len(cases)),
        },
    )


def score_translate(asker: Asker) -> Score:
    cases = asker.cases("translate")
    counts: Counter[str] = Counter()
    for case in cases:
        found = asker.ask("translate", case).result
        told = found["translation"]
        wanted, have = Counter(_marks(case["text"])), Counter(_marks(told))
        counts["marks"] += wanted.total()
        counts["kept"] += (wanted & have).total()
        counts["numbers"] += numbers_of(told) >= numbers_of(case["text"])
        counts["shape"] += _shape(told) == _shape(case["text"])
        changed = told != case["text"]
        counts["language"] += changed and detect_language(told, case["target"]) == case["target"]
        asker.tell(repr(told), found["notes"])
    return Score(
        len(cases),
        {
            "placeholders that came through": _share(counts["kept"], counts["marks"]),
            "numbers kept": _share(counts["numbers"], len(cases)),
            "shape kept": _share(counts["shape"], len(cases)),
            "in the language asked for": _share(counts["language"], len(cases)),
        },
    )


def _marks(text: str) -> list[str]:
    return placeholders_of(text)


def _shape(text: str) -> tuple[str, int, list[str]]:
    """The form of a text, how many pieces of it speak, and what the others begin with."""
    form = form_of(text)
    pieces = take_apart(text, form)
    rest = [piece.text[:2] for piece in pieces if not piece.speaks and piece.text.strip()]
    return form, 0 if form == "po" else len(rest), [] if form == "po" else rest


def score_answer(asker: Asker) -> Score:
    faqs = json.loads((CASES / "faqs.json").read_text(encoding="utf-8"))
    cases = asker.cases("answer")
    counts: Counter[str] = Counter()
    for case in cases:
        fields = {"question": case["question"], "faq": faqs[case["faq"]]}
        found = asker.ask("answer", fields).result
        cited = [one["entry"] for one in found["citations"]]
        answerable = case["expect"] > 0
        counts["answerable"] += answerable
        counts["cited"] += answerable and cited == [case["expect"]]
        counts["handed"] += not answerable and found["handed_over"]
        counts["wrong"] += bool(cited) and cited != [case["expect"]]
        if (cited or [0]) != [case["expect"]]:
            asker.tell(case["expect"], cited, found["probability"], case["question"])
    return Score(
        len(cases),
        {
            "right entry cited": _share(counts["cited"], counts["answerable"]),
            "unanswerable handed over": _share(counts["handed"], len(cases) - counts["answerable"]),
            "wrong entry cited, of all": _share(counts["wrong"], len(cases)),
        },
    )


def score_compare(asker: Asker) -> Score:
    cases = asker.cases("compare")
    kinds = risky = rated = faithful = changes = 0
    for case in cases:
        fields = {name: case[name] for name in ("text", "other", "party")}
        found = asker.ask("compare", fields).result["differences"]
        kinds += [one["kind"] for one in found] == case["expect"]
        for one in found:
            changes += 1
            faithful += not one["unsupported"]
            if one["kind"] in case["risky"]:
                rated += 1
                risky += one["risk"] != "low"
            asker.tell(one["kind"], one["risk"], one["risk_probability"], one["meaning"])
    return Score(
        len(cases),
        {
            "all differences found": _share(kinds, len(cases)),
            "risky ones not called low": _share(risky, rated),
            "meanings without inventions": _share(faithful, changes),
        },
    )


def score_minutes(asker: Asker) -> Score:
    """A task is found when who does it and by when stand in one action."""
    cases = asker.cases("minutes")
    found = wanted = told = 0
    for case in cases:
        actions = asker.ask("minutes", {"text": case["text"]}).result["actions"]
        told += len(actions)
        for who, due in case["expect"]:
            wanted += 1
            found += any(who == a["who"] and due in a["due"] for a in actions)
        asker.tell(actions)
    return Score(
        len(cases),
        {
            "tasks found with who and when": _share(found, wanted),
            "tasks told for each that is": _share(told, wanted),
        },
    )


def score_topics(asker: Asker) -> Score:
    """Purity: the share of texts that are of the commonest kind of their group."""
    cases = asker.cases("topics")
    pure = texts = groups = 0
    for case in cases:
        topics = asker.ask("topics", {"texts": case["texts"], "smallest": 1}).result["topics"]
        texts += len(case["texts"])
        groups += len(topics)
        for topic in topics:
            kinds = Counter(case["expect"][int(each) - 1] for each in topic["texts"])
            pure += max(kinds.values())
            asker.tell(topic["label"], dict(kinds))
    return Score(
        len(cases), {"purity": _share(pure, texts), "groups (3 are meant)": groups / len(cases)}
    )


def score_draft(asker: Asker) -> Score:
    cases = asker.cases("draft")
    complete = faithful = 0
    for case in cases:
        found = asker.ask("draft", case).result
        complete += not found["missing"]
        faithful += not found["unsupported"]
        if found["missing"] or found["unsupported"]:
            asker.tell(found)
    return Score(
        len(cases),
        {
            "all names and numbers in it": _share(complete, len(cases)),
            "no others": _share(faithful, len(cases)),
        },
    )


def score_code(asker: Asker) -> Score:
    cases = asker.cases("code")
    right: dict[str, list[bool]] = {}
    for case in cases:
        fields = dict(case["ask"])
        if fields.get("tables") == "library":
            fields["tables"] = _LIBRARY
        asked = asker.ask(case["task"], fields)
        held = not asked.fault and _CODE_CHECKS[case["task"]](asked.result, fields, case["expect"])
        right.setdefault(case["task"], []).append(held)
        if not held:
            asker.tell(case["task"], asked.fault, asked.result)
    figures = {name: _share(sum(held), len(held)) for name, held in right.items()}
    return Score(len(cases), figures)


def _sql_holds(result: dict[str, Any], fields: dict[str, Any], expect: Any) -> bool:
    with sqlite3.connect(":memory:") as database:
        database.executescript(_LIBRARY + _ROWS)
        try:
            rows = database.execute(result["sql"]).fetchall()
        except sqlite3.Error:
            return False
    return [list(row) for row in rows] == expect


def _finds_the_line(result: dict[str, Any], fields: dict[str, Any], expect: Any) -> bool:
    return any(finding["line"] in expect for finding in result["findings"])


def _diff_holds(result: dict[str, Any], fields: dict[str, Any], expect: Any) -> bool:
    if not result["diff"]:
        return False
    return _runs(f"{apply_diff(fields['code'], result['diff'])}\n{expect}\n")


def _code_holds(result: dict[str, Any], fields: dict[str, Any], expect: Any) -> bool:
    return _runs(f"{result['code']}\n{expect}\n")


def _tests_hold(result: dict[str, Any], fields: dict[str, Any], expect: Any) -> bool:
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "subject.py").write_text(fields["code"], encoding="utf-8")
        Path(folder, "test_subject.py").write_text(result["tests"], encoding="utf-8")
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", folder],
            capture_output=True,
            timeout=_CODE_SECONDS,
            cwd=folder,
            check=False,
        )
    return done.returncode == 0 and not result["untested"]


def _runs(program: str) -> bool:
    try:
        done = subprocess.run(
            [sys.executable, "-I", "-c", program],
            capture_output=True,
            timeout=_CODE_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return False
    return done.returncode == 0


def _has_no_foreign_name(result: dict[str, Any], fields: dict[str, Any], expect: Any) -> bool:
    return bool(result["explanation"]) and not result["foreign"]


def _is_short(result: dict[str, Any], fields: dict[str, Any], expect: Any) -> bool:
    return 10 <= len(result["subject"]) <= 72


_CODE_CHECKS: dict[str, Callable[[dict[str, Any], dict[str, Any], Any], bool]] = {
    "sql": _sql_holds,
    "review_code": _finds_the_line,
    "refactor_code": _diff_holds,
    "translate_code": _code_holds,
    "write_tests": _tests_hold,
    "explain_code": _has_no_foreign_name,
    "commit_message": _is_short,
}
KINDS: dict[str, Callable[[Asker], Score]] = {
    "extract": score_extract,
    "classify": score_classify,
    "sentiment": score_sentiment,
    "moderate": score_moderate,
    "summarize": score_summarize,
    "translate": score_translate,
    "answer": score_answer,
    "compare": score_compare,
    "minutes": score_minutes,
    "draft": score_draft,
    "topics": score_topics,
    "code": score_code,
}


def rows(asker: Asker, kinds: list[str]) -> Iterator[str]:
    """A line of the table for each kind, as soon as it is known."""
    yield "| kind | cases | scores | schema valid | seconds a case |"
    yield "|---|---|---|---|---|"
    for kind in kinds:
        answers, valid, seconds = asker.answers, asker.valid, asker.seconds
        score = KINDS[kind](asker)
        told = ", ".join(f"{name} {value:.2f}" for name, value in score.figures.items())
        answers, valid = asker.answers - answers, asker.valid - valid
        each = (asker.seconds - seconds) / max(answers, 1)
        yield f"| {kind} | {score.cases} | {told} | {valid} of {answers} | {each:.1f} |"


def main() -> None:
    reader = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    reader.add_argument("kinds", nargs="*", choices=[[], *KINDS], metavar="KIND")
    reader.add_argument("--url", default="http://127.0.0.1:11434")
    reader.add_argument("--model", required=True)
    reader.add_argument("--every", type=int, default=1, help="take every second, third, ... case")
    reader.add_argument("--verbose", action="store_true")
    given = reader.parse_args()
    asker = Asker(given.url, given.model, every=given.every, verbose=given.verbose)
    for row in rows(asker, given.kinds or list(KINDS)):
        print(row, flush=True)


if __name__ == "__main__":
    main()
