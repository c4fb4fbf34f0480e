from __future__ import annotations

from dimora.core.types import Usage
from dimora.ledger.ledger import Ledger
from dimora.tasks.base import ModelDetails, ModelSummary, Running
from dimora.tasks.options import LoadOptions


def lines(ledger: Ledger, running=()) -> list[str]:
    return ledger.tell(running).decode().splitlines()


def test_a_request_is_counted_with_its_tokens_and_times():
    ledger = Ledger()
    usage = Usage(prompt_tokens=10, prompt_tokens_original=25, cached_tokens=4, output_tokens=7)
    ledger.note_request(
        "chat", "m:latest", ended="done", usage=usage, seconds=0.3, first_seconds=0.02
    )
    told = lines(ledger)
    assert 'dimora_requests_total{ended="done",model="m:latest",task="chat"} 1.0' in told
    assert 'dimora_prompt_tokens_total{model="m:latest"} 10.0' in told
    assert 'dimora_cached_prompt_tokens_total{model="m:latest"} 4.0' in told
    assert 'dimora_output_tokens_total{model="m:latest"} 7.0' in told
    assert 'dimora_truncated_prompts_total{model="m:latest"} 1.0' in told
    bucket = 'dimora_time_to_first_token_seconds_bucket{{le="{}",model="m:latest",task="chat"}} {}'
    assert bucket.format("0.01", "0.0") in told
    assert bucket.format("0.025", "1.0") in told
    assert bucket.format("+Inf", "1.0") in told


def test_an_unanswered_request_has_no_first_token():
    ledger = Ledger()
    ledger.note_request(
        "chat", "", ended="not_found", usage=Usage(), seconds=0.1, first_seconds=None
    )
    told = lines(ledger)
    assert not any(line.startswith("dimora_time_to_first_token_seconds_bucket") for line in told)
    assert not any(line.startswith("dimora_output_tokens_total") for line in told)


def test_loaded_models_tell_their_memory_and_their_queue():
    summary = ModelSummary(
        name="m:latest", digest="", size_bytes=1, modified_at=0.0, details=ModelDetails()
    )
    running = Running(
        summary=summary,
        engine="echo",
        engine_version="1",
        engine_reason="",
        options=LoadOptions(num_ctx=4),
        expires_at=0.0,
        memory_bytes=123,
        active=2,
        queued=5,
    )
    told = lines(Ledger(), [running])
    assert "dimora_loaded_models 1.0" in told
    assert 'dimora_model_memory_bytes{engine="echo",model="m:latest"} 123.0' in told
    assert 'dimora_model_queued_requests{engine="echo",model="m:latest"} 5.0' in told


def test_two_ledgers_in_one_process_do_not_mix():
    first, second = Ledger(), Ledger()
    first.note_wait("m", 1.0)
    assert any("dimora_queue_duration_seconds_count" in line for line in lines(first))
    assert not any("dimora_queue_duration_seconds_count{" in line for line in lines(second))
