"""Continue a prompt."""

from __future__ import annotations

from dimora.tasks.generation import GenerationRequest

RIGHT = "use"


class Generate(GenerationRequest, frozen=True, kw_only=True, tag="generate"):
    """`raw`: the prompt is not templated. `suffix`: fill in the middle, between prompt and suffix.
    `system`: instead of the model's own. `template`: a Jinja or Go template instead of the model's.
    `context`: token ids of an earlier answer, put before the prompt.
    `want_context`: return such ids. `echo`: the answer repeats the prompt first.
    """

    prompt: str
    suffix: str = ""
    system: str | None = None
    template: str | None = None
    images: tuple[bytes, ...] = ()
    context: tuple[int, ...] = ()
    raw: bool = False
    want_context: bool = False
    echo: bool = False
