"""A measurement as people read it, on every width."""

from __future__ import annotations

import msgspec
import pytest

from dimora.cli import measured
from dimora.cli.measured import print_benched, profile_rows
from dimora.tasks.profile import Benched, EngineTold, Figures, Profile, typical_seconds

SLOW = Figures(
    engine="llama_cpp", version="1", load_seconds=0.5, read_tokens=1000, read_rate=400.0,
    again_seconds=0.03, written_rate=100.0, streams=4, together_rate=80.0,
    memory_bytes=600_000_000,
)  # fmt: skip
FAST = Figures(
    engine="openvino", version="1", load_seconds=3.9, read_tokens=1000, read_rate=4000.0,
    again_seconds=0.02, written_rate=125.0, streams=4, together_rate=400.0,
    memory_bytes=400_000_000,
)  # fmt: skip


def benched(*figures: Figures, **more) -> Benched:
    found = figures or (SLOW, FAST)
    return Benched(
        **{
            "name": "m:latest",
            "machine": "",
            "measured_at": 1763900000.0,
            "figures": found,
            "typical_seconds": {one.engine: typical_seconds(one) for one in found},
            "eligible": ("openvino", "llama_cpp"),
            "runs": EngineTold("llama_cpp", "it loads every GGUF"),
            "would": EngineTold("openvino", "measured"),
        }
        | more
    )


def told(capsys, found: Benched) -> str:
    print_benched(found, "m")
    return capsys.readouterr().out


def test_the_fastest_stands_first_with_its_bar_and_what_it_is_best_for(capsys):
    lines = told(capsys, benched()).splitlines()
    assert lines[0].split() == [
        *("ENGINE", "LOADS", "IN", "READS", "READS", "AGAIN", "WRITES", "4", "AT", "ONCE", "MEMORY")
    ]
    assert lines[1].split() == [
        *("openvino", "3.9", "s", "4000/s", "20", "ms", "125/s", "400/s", "400", "MB")
    ]
    bars = {line.split()[0]: line for line in lines if "█" in line and "read" not in line}
    assert list(bars) == ["openvino", "llama_cpp"]
    # 0.25 s to read and 2 s to write, against 2.5 s and 2.5 s.
    read, written = (bars["llama_cpp"].count(each) for each in "█░")
    assert abs(read - written) <= 1 and written > 20
    assert bars["openvino"].count("░") > 6 * bars["openvino"].count("█") > 0
    assert bars["openvino"].endswith(" 2.25 s") and bars["llama_cpp"].endswith(" 5 s")
    best = {line[:30].strip(): line for line in lines if " against " in line}
    assert "openvino" in best["a typical request"] and "(2.2 x)" in best["a typical request"]
    assert "llama_cpp" in best["a quick start"].split("500 ms")[0]
    assert "(5.0 x)" in best["many at once"]


def test_it_says_what_these_figures_would_change(capsys):
    text = told(capsys, benched())
    assert "Now llama_cpp runs m:latest: it loads every GGUF." in text
    assert "would choose openvino; --apply lets them decide" in text
    same = told(capsys, benched(runs=EngineTold("openvino", "")))
    assert "would choose openvino too" in same
    applied = told(capsys, benched(applied=True, in_memory=True)).replace("\n", " ")
    assert "from now on these figures decide, and choose openvino" in applied
    assert "--forget" in applied and "`dimora stop m`" in applied
    pinned = told(capsys, benched(applied=True, pinned=True, would=None)).replace("\n", " ")
    assert "As long as an engine is pinned they change nothing." in pinned
    not_applied = told(capsys, benched(not_applied="others were answered"))
    assert "Nothing was applied: others were answered." in not_applied


def test_an_engine_that_rounds_is_marked_and_not_told_as_the_best(capsys):
    inexact = {"openvino": "it rounds"}
    text = told(capsys, benched(eligible=("llama_cpp",), inexact=inexact))
    assert "openvino*" in text
    assert "* it rounds: openvino is not chosen by speed; --inexact lets it." in text
    assert " against " not in text, "there is no choice"
    assert "would choose llama_cpp too" in text
    asked = told(capsys, benched(inexact=inexact))
    assert "openvino may be chosen, as asked" in asked


def test_engines_without_figures_are_told_with_their_reasons(capsys):
    text = told(capsys, benched(SLOW, failed={"openvino": "it died"}, refused={"onnx": "no"}))
    assert "openvino failed: it died" in text and "onnx was left out: no." in text
    nothing = benched(failed={"openvino": "it died"}, eligible=(), would=None)
    alone = told(capsys, msgspec.structs.replace(nothing, figures=(), typical_seconds={}))
    assert "ENGINE" not in alone and "openvino failed: it died" in alone


def test_what_was_not_timed_is_a_dash(capsys):
    silent = msgspec.structs.replace(SLOW, written_rate=0.0, notes=("writing was not timed",))
    text = told(capsys, benched(silent, eligible=()))
    assert "llama_cpp" in text and " - " in text and "inf" not in text
    assert "llama_cpp: writing was not timed." in text
    embedder = msgspec.structs.replace(
        SLOW, writes=False, written_rate=0, again_seconds=0, streams=0, together_rate=0
    )
    text = told(capsys, benched(embedder, eligible=("llama_cpp",)))
    assert "written" not in text and "█" in text


@pytest.mark.parametrize("columns", [64, 80, 100, 200])
def test_it_fits_the_terminal(capsys, monkeypatch, columns: int):
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    monkeypatch.setenv("NO_COLOR", "1")
    found = benched(inexact={"openvino": "a long reason of many words " * 4})
    lines = told(capsys, found).splitlines()
    assert max(map(len, lines)) <= columns, [line for line in lines if len(line) > columns]


def test_bars_are_plain_where_the_terminal_knows_no_better(capsys, monkeypatch):
    monkeypatch.setattr(measured, "_can_draw", lambda: False)
    assert "#####" in told(capsys, benched())


def test_show_tells_an_applied_measurement_in_rows():
    profile = Profile(measured_at=1763900000.0, machine="", engines={}, figures=(SLOW, FAST))
    rows = profile_rows(profile)
    assert rows[0] == ("23 Nov 2025", "decides which engine runs it")
    assert rows[1][0] == "openvino" and "typical request 2.25 s" in rows[1][1]
    stale = msgspec.structs.replace(profile, stale="openvino is another version")
    assert profile_rows(stale)[0][1] == "no longer holds: openvino is another version"
