"""Tell what a model takes before it is loaded."""

from __future__ import annotations

import click

from dimora.cli.asking import ask_one, door_here
from dimora.cli.words import print_json, size_words
from dimora.tasks.advice import Speed
from dimora.tasks.options import Options
from dimora.tasks.plan_model import ModelPlanned, PlanModel, Remedy
from dimora.tasks.profile import day_words


@click.command()
@click.argument("model")
@click.option("--context", type=click.IntRange(1), help="Tokens of context for each answer.")
@click.option("--parallel", type=click.IntRange(1), help="Answers at a time.")
@click.option("--engine", help="With this engine.")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def command(
    model: str, context: int | None, parallel: int | None, engine: str | None, as_json: bool
) -> None:
    """Tell what MODEL takes before it is loaded, whether it fits, and how fast it may be.

    MODEL is a model that is here, a GGUF file, or a name of the catalogue.
    """
    options = Options(num_ctx=context, engine=engine)
    with door_here() as door:
        request = PlanModel(model=model, options=options, parallel=parallel or 0)
        planned = ask_one(door, request, ModelPlanned)
    if as_json:
        print_json(planned)
    else:
        click.echo(page(planned))


def page(planned: ModelPlanned) -> str:
    """The plan as people read it."""
    forecast, parts = planned.forecast, planned.forecast.footprint
    where = "here" if planned.here else "not here; estimated from the catalogue"
    facts = ", ".join(x for x in (planned.parameter_size, planned.quantization, where) if x)
    rows = [
        ("model", f"{planned.name} ({facts})"),
        ("engine", f"{forecast.engine}: {forecast.engine_reason}"),
        ("window", _window(forecast.parallel, forecast.num_ctx)),
        ("", ""),
        ("weights", f"{size_words(parts.weights_bytes)}{_spare(parts.spare_bytes)}"),
        ("key-value cache", size_words(parts.kv_cache_bytes)),
        ("compute buffers", size_words(parts.compute_bytes)),
        ("engine", size_words(parts.overhead_bytes)),
        ("total", f"{size_words(planned.total_bytes)}{_more(parts.notes)}"),
        ("free now", f"{size_words(forecast.free_bytes)}, {_usable(planned)}"),
        ("fits", f"{'yes' if planned.fits else 'no'}, it needs {size_words(planned.needed_bytes)}"),
    ]
    rows += [("" if at else "what would fit", _words(r)) for at, r in enumerate(planned.remedies)]
    if planned.speed is not None:
        rows += [("", ""), *_speed_rows(planned.speed, forecast.num_ctx)]
    width = max(len(name) for name, _ in rows) + 3
    return "\n".join(f"{name.ljust(width)}{value}".rstrip() for name, value in rows)


def _window(parallel: int, num_ctx: int) -> str:
    answers = "one answer" if parallel == 1 else f"{parallel} answers"
    return f"{answers} at a time, {num_ctx} tokens each"


def _spare(spare_bytes: int) -> str:
    """The engine has laid out these weights anew; the file's pages are not needed after that."""
    if not spare_bytes:
        return ""
    return f" ({size_words(spare_bytes)} of it a copy that the system may take back)"


def _more(notes: tuple[str, ...]) -> str:
    return f" ({'; '.join(notes)})" if notes else ""


def _usable(planned: ModelPlanned) -> str:
    return f"models may take {size_words(planned.forecast.usable_bytes)}"


def _words(remedy: Remedy) -> str:
    what = {
        "context": f"--context {remedy.value}",
        "parallel": f"--parallel {remedy.value}",
        "quantization": f"the weights as {remedy.value}",
        "model": remedy.value,
    }[remedy.change]
    return f"{what} ({size_words(remedy.needed_bytes)})"


def _speed_rows(speed: Speed, num_ctx: int) -> list[tuple[str, str]]:
    if speed.measured_at:
        return _measured_rows(speed)
    gigabytes = speed.bandwidth_bytes_per_second / 1e9
    rows = [
        (
            "writing",
            f"{_rate(speed.low)} to {_rate(speed.high)} tokens/s, at {num_ctx} tokens"
            f" {_rate(speed.low_when_full)} to {_rate(speed.high_when_full)}"
            f" (memory is read with {gigabytes:.0f} GB/s)",
        )
    ]
    if speed.measured:
        rows.append(("measured here", f"{_rate(speed.measured)} tokens/s, the last time"))
    if speed.measured_prompt:
        rows.append(("reading", f"{_rate(speed.measured_prompt)} tokens/s, measured here"))
    return rows


def _measured_rows(speed: Speed) -> list[tuple[str, str]]:
    """What was measured on purpose stands in place of what can be expected."""
    rows = [
        ("writing", f"{_rate(speed.measured)} tokens/s, measured {day_words(speed.measured_at)}")
    ]
    if speed.measured_together:
        rows.append(
            (f"{speed.streams} at once", f"{_rate(speed.measured_together)} tokens/s in all")
        )
    rows.append(("reading", f"{_rate(speed.measured_prompt)} tokens/s"))
    return rows


def _rate(tokens_per_second: float) -> str:
    return f"{tokens_per_second:.0f}" if tokens_per_second >= 10 else f"{tokens_per_second:.1f}"
