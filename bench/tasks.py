"""Scores the ready tasks with one model, over cases of ours in three languages.

    python -m bench.tasks --url http://127.0.0.1:11434 --model NAME [KIND ...]

Asks a running server. Every result is held against the JSON Schema of its task. A kind prints one
line of a Markdown table, and with --verbose each case that went wrong. Scores are of the cases that
were answered; requests that the server refused are counted beside them. The kind `code` runs code
that the model wrote, in a process of its own: it is scored only when it is named.
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
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

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


Case = TypeVar("Case")


class Asker:
    """Asks a server. Counts requests, those that it refused, and results that keep their schema."""

    def __init__(self, url: str, model: str, *, every: int = 1, verbose: bool = False) -> None:
        self.requests = self.refused = self.valid = 0
        self.seconds = 0.0
        self.every = every
        self._url, self._model, self._verbose = url.rstrip("/"), model, verbose

    def ask_all(
        self, task: str, cases: Sequence[Case], fields_of: Callable[[Case], dict[str, Any]]
    ) -> list[tuple[Case, dict[str, Any]]]:
        """The cases with their results, without those that have none or one of the wrong form."""
        asked = [(case, self._ask(task, fields_of(case))) for case in cases]
        return [(case, result) for case, result in asked if result is not None]

    def _ask(self, task: str, fields: dict[str, Any]) -> dict[str, Any] | None:
        body = json.dumps({"model": self._model, **fields}).encode()
        request = urllib.request.Request(
            f"{self._url}/v1/tasks/{task}", body, {"Content-Type": "application/json"}
        )
        started = time.monotonic()
        self.requests += 1
        try:
            with urllib.request.urlopen(request, timeout=_SECONDS_AT_MOST) as answer:
                result: dict[str, Any] = json.loads(answer.read())["result"]
        except urllib.error.HTTPError as why:
            self.refused += 1
            self.tell(task, "refused:", why.read().decode()[:300])
            return None
        finally:
            self.seconds += time.monotonic() - started
        schema = result_schema(tasks.READY.load(task))
        broken = next(Draft202012Validator(schema).iter_errors(result), None)
        if broken:
            self.tell(task, "breaks its schema:", broken.message[:300])
            return None
        self.valid += 1
        return result

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


def _text_of(case: dict[str, Any]) -> dict[str, Any]:
    return {"text": case["text"]}


def score_extract(asker: Asker) -> Score:
    """Invoices of the generator and letters by hand; a value is right when it is equal."""
    cases = [
        (list(FIELDS[letter.language]), letter.text, letter.values) for letter in write_letters(24)
    ]
    cases = cases[:: asker.every]
    cases += [(c["fields"], c["text"], c["expect"]) for c in asker.cases("extract")]
    right = told = wanted = 0
    sure: dict[bool, list[float]] = {True: [], False: []}
    asked = asker.ask_all("extract", cases, lambda case: {"fields": case[0], "text": case[1]})
    for (_, _, expect), found in asked:
        for value in found["fields"]:
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
    sure = []
    for case, found in asker.ask_all("sentiment", cases, _text_of):
        hit = found["sentiment"] == case["expect"]
        sure.append((max(found["positive"], found["neutral"], found["negative"]), hit))
        if not hit:
            asker.tell(case["expect"], found, case["text"])
    right = sum(hit for _, hit in sure)
    return Score(
        len(cases),
        {"accuracy": _share(right, len(sure)), "calibration error": calibration_gap(sure)},
    )


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
    asked = asker.ask_all(
        "classify", cases, lambda case: {"text": case["text"], "labels": case["labels"]}
    )
    for case, found in asked:
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
    for case, found in asker.ask_all("moderate", cases, _text_of):
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
    asked = asker.ask_all("summarize", cases, _text_of)
    for case, found in asked:
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
            "without inventions": _share(faithful, len(asked)),
            "planted inventions caught": _share(caught, planted),
            "shorter": _share(shorter, len(asked)),
            "in the text's language": _share(same, len(asked)),
        },
    )


def score_translate(asker: Asker) -> Score:
    cases = asker.cases("translate")
    counts: Counter[str] = Counter()
    asked = asker.ask_all("translate", cases, dict)
    for case, found in asked:
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
            "numbers kept": _share(counts["numbers"], len(asked)),
            "shape kept": _share(counts["shape"], len(asked)),
            "in the language asked for": _share(counts["language"], len(asked)),
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
    asked = asker.ask_all(
        "answer", cases, lambda case: {"question": case["question"], "faq": faqs[case["faq"]]}
    )
    for case, found in asked:
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
            "unanswerable handed over": _share(counts["handed"], len(asked) - counts["answerable"]),
            "wrong entry cited, of all": _share(counts["wrong"], len(asked)),
        },
    )


def score_compare(asker: Asker) -> Score:
    cases = asker.cases("compare")
    kinds = risky = rated = faithful = changes = 0
    asked = asker.ask_all(
        "compare", cases, lambda case: {name: case[name] for name in ("text", "other", "party")}
    )
    for case, found in asked:
        differences = found["differences"]
        kinds += [one["kind"] for one in differences] == case["expect"]
        for one in differences:
            changes += 1
            faithful += not one["unsupported"]
            if one["kind"] in case["risky"]:
                rated += 1
                risky += one["risk"] != "low"
            asker.tell(one["kind"], one["risk"], one["risk_probability"], one["meaning"])
    return Score(
        len(cases),
        {
            "all differences found": _share(kinds, len(asked)),
            "risky ones not called low": _share(risky, rated),
            "meanings without inventions": _share(faithful, changes),
        },
    )


def score_minutes(asker: Asker) -> Score:
    """A task is found when who does it and by when stand in one action."""
    cases = asker.cases("minutes")
    right = wanted = told = 0
    for case, found in asker.ask_all("minutes", cases, _text_of):
        actions = found["actions"]
        told += len(actions)
        for who, due in case["expect"]:
            wanted += 1
            right += any(who == a["who"] and due in a["due"] for a in actions)
        asker.tell(actions)
    return Score(
        len(cases),
        {
            "tasks found with who and when": _share(right, wanted),
            "tasks told for each that is": _share(told, wanted),
        },
    )


def score_topics(asker: Asker) -> Score:
    """Purity: the share of texts that are of the commonest kind of their group."""
    cases = asker.cases("topics")
    pure = texts = groups = 0
    asked = asker.ask_all("topics", cases, lambda case: {"texts": case["texts"], "smallest": 1})
    for case, found in asked:
        texts += len(case["texts"])
        groups += len(found["topics"])
        for topic in found["topics"]:
            kinds = Counter(case["expect"][int(each) - 1] for each in topic["texts"])
            pure += max(kinds.values())
            asker.tell(topic["label"], dict(kinds))
    return Score(
        len(cases),
        {"purity": _share(pure, texts), "groups (3 are meant)": _share(groups, len(asked))},
    )


def score_draft(asker: Asker) -> Score:
    cases = asker.cases("draft")
    complete = faithful = 0
    asked = asker.ask_all("draft", cases, dict)
    for _, found in asked:
        complete += not found["missing"]
        faithful += not found["unsupported"]
        if found["missing"] or found["unsupported"]:
            asker.tell(found)
    return Score(
        len(cases),
        {
            "all names and numbers in it": _share(complete, len(asked)),
            "no others": _share(faithful, len(asked)),
        },
    )


def score_code(asker: Asker) -> Score:
    cases = asker.cases("code")
    figures: dict[str, float] = {}
    for task in dict.fromkeys(case["task"] for case in cases):
        of_task = [case for case in cases if case["task"] == task]
        asked = asker.ask_all(task, of_task, _code_fields)
        right = 0
        for case, found in asked:
            held = _CODE_CHECKS[task](found, _code_fields(case), case["expect"])
            right += held
            if not held:
                asker.tell(task, found)
        figures[task] = _share(right, len(asked))
    return Score(len(cases), figures)


def _code_fields(case: dict[str, Any]) -> dict[str, Any]:
    fields = dict(case["ask"])
    return {**fields, "tables": _LIBRARY} if fields.get("tables") == "library" else fields


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
        passed = _ends_well("-m", "pytest", "-q", "-p", "no:cacheprovider", folder, folder=folder)
    return passed and not result["untested"]


def _runs(program: str) -> bool:
    return _ends_well("-I", "-c", program)


def _ends_well(*arguments: str, folder: str | None = None) -> bool:
    """Whether Python ends with 0, and in time."""
    try:
        done = subprocess.run(
            [sys.executable, *arguments],
            capture_output=True,
            timeout=_CODE_SECONDS,
            cwd=folder,
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
USUAL_KINDS = [kind for kind in KINDS if kind != "code"]


def rows(asker: Asker, kinds: list[str]) -> Iterator[str]:
    """A line of the table for each kind, as soon as it is known."""
    yield "| kind | cases | scores | schema valid | seconds a case |"
    yield "|---|---|---|---|---|"
    for kind in kinds:
        requests, refused, valid = asker.requests, asker.refused, asker.valid
        seconds = asker.seconds
        score = KINDS[kind](asker)
        told = ", ".join(f"{name} {value:.2f}" for name, value in score.figures.items())
        requests, refused = asker.requests - requests, asker.refused - refused
        kept = f"{asker.valid - valid} of {requests}" + (f", {refused} refused" if refused else "")
        each = (asker.seconds - seconds) / max(requests, 1)
        yield f"| {kind} | {score.cases} | {told} | {kept} | {each:.1f} |"


def main() -> None:
    reader = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    reader.add_argument(
        "kinds",
        nargs="*",
        choices=[[], *KINDS],
        metavar="KIND",
        help=f"{', '.join(KINDS)}; all but code where none is named",
    )
    reader.add_argument("--url", default="http://127.0.0.1:11434")
    reader.add_argument("--model", required=True)
    reader.add_argument("--every", type=int, default=1, help="take every second, third, ... case")
    reader.add_argument("--verbose", action="store_true")
    given = reader.parse_args()
    asker = Asker(given.url, given.model, every=given.every, verbose=given.verbose)
    for row in rows(asker, given.kinds or USUAL_KINDS):
        print(row, flush=True)


if __name__ == "__main__":
    main()
