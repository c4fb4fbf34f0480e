"""Tell all there is to tell of one model."""

from __future__ import annotations

from datetime import date

import click

from dimora.cli.asking import ask_one, door_here
from dimora.cli.improving import card_rows
from dimora.cli.measured import profile_rows
from dimora.cli.words import harmless, print_json
from dimora.tasks.base import EmbeddingHabits, Model
from dimora.tasks.show_model import ModelShown, ShowModel

_LICENSE_LINES = 2
_WAYS = {
    "asked": "for this model",
    "setting": "in the settings",
    "earlier": "for another model before",
}


@click.command()
@click.argument("model")
@click.option("--license", "part", flag_value="license", help="Only the licence.")
@click.option("--modelfile", "part", flag_value="modelfile", help="Only the Modelfile.")
@click.option("--parameters", "part", flag_value="parameters", help="Only the parameters.")
@click.option("--template", "part", flag_value="template", help="Only the template.")
@click.option("--system", "part", flag_value="system", help="Only the system text.")
@click.option("-v", "--verbose", is_flag=True, help="Also metadata and tensors.")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def command(model: str, part: str | None, verbose: bool, as_json: bool) -> None:
    """Tell what a model is, can do and wants; which engines refuse it and why."""
    with door_here() as door:
        shown = ask_one(door, ShowModel(model=model, verbose=verbose), ModelShown)
    if as_json:
        print_json(shown)
    elif part:
        click.echo(part_of(shown, part))
    else:
        click.echo(page(shown, verbose=verbose))


def part_of(shown: ModelShown, part: str) -> str:
    """One part, as `/show` and the flags name them."""
    model = shown.shown
    return {
        "license": "\n\n".join([*model.licenses, *acceptance_lines(shown)]),
        "modelfile": shown.modelfile.rstrip(),
        "parameters": "\n".join(" ".join(row) for row in parameter_rows(model)),
        "template": model.chat_template or model.template,
        "system": model.system,
    }[part]


def acceptance_lines(shown: ModelShown) -> list[str]:
    """Who agreed to the licence, and when; empty where nobody had to."""
    return [
        f"{one.license}: accepted by {one.user} on {one.time} ({_WAYS.get(one.by, one.by)})"
        for one in shown.acceptances
    ]


def parameter_rows(model: Model) -> list[tuple[str, str]]:
    """Name and value, a line for each stop string."""
    return [
        (name, f'"{each}"' if isinstance(each, str) else str(each))
        for name, value in model.options.as_dict().items()
        for each in (value if isinstance(value, tuple) else (value,))
    ]


def page(shown: ModelShown, *, verbose: bool) -> str:
    """The sections as people read them."""
    model = shown.shown
    details = model.summary.details
    sections: dict[str, list[tuple[str, str]]] = {
        "Model": [
            ("architecture", model.architecture),
            ("parameters", details.parameter_size),
            ("context length", str(details.context_length)),
            ("embedding length", str(details.embedding_length)),
            ("quantization", details.quantization_level),
            *template_rows(model),
        ],
        "Capabilities": [(name, "") for name in model.summary.capabilities],
        "Embedding": embedding_rows(model.embedding),
        "Comes with": added_rows(model),
        "Parameters": parameter_rows(model),
        "System": [(line, "") for line in model.system.splitlines()[:3]],
        "Made from another form": card_rows(model.card) if model.card else [],
        "Engines that refuse it": sorted(shown.refused_by.items()),
        "Engines as measured": profile_rows(shown.profile) if shown.profile else [],
        "License": [
            *((x, "") for text in model.licenses for x in text.splitlines()[:_LICENSE_LINES]),
            *((line, "") for line in acceptance_lines(shown)),
        ],
    }
    if verbose:
        sections["Metadata"] = [(k, _short(v)) for k, v in sorted(model.metadata.items())]
        sections["Tensors"] = [(n, f"{kind}  {list(shape)}") for n, kind, shape in model.tensors]
    lines: list[str] = []
    for title, rows in sections.items():
        if rows:
            lines += [f"  {title}"]
            width = max(len(name) for name, _ in rows) + 4
            lines += [harmless(f"    {name.ljust(width)}{value}".rstrip()) for name, value in rows]
            lines += [""]
    return "\n".join(lines).rstrip()


def added_rows(model: Model) -> list[tuple[str, str]]:
    """What belongs to the model beside its weights."""
    rows = [("adapter", f"{digest[7:19]}, scale {scale:g}") for digest, scale in model.adapters]
    rows += [("projector", model.projector_digest[7:19]), ("draft", model.draft_digest[7:19])]
    rows += [("document", name) for name in model.documents]
    rows += [("renderer", model.renderer), ("parser", model.parser), ("requires", model.requires)]
    return [row for row in rows if row[1]]


def template_rows(model: Model) -> list[tuple[str, str]]:
    """When the chat template was changed under this name; empty when it never was."""
    if not model.template_changed_at:
        return []
    return [("template", f"changed on {date.fromtimestamp(model.template_changed_at)}")]


def embedding_rows(habits: EmbeddingHabits) -> list[tuple[str, str]]:
    """What an embedder wants before its texts; empty for other models."""
    rows = [
        ("query prefix", habits.query_prefix and f'"{habits.query_prefix}"'),
        ("passage prefix", habits.passage_prefix and f'"{habits.passage_prefix}"'),
        ("Unicode form", habits.unicode_form),
    ]
    return [row for row in rows if row[1]]


def _short(value: object) -> str:
    text = str(value).replace("\n", "\\n")
    return text if len(text) <= 80 else text[:77] + "..."
