"""What a conversion of a model cost and brought: figures from before and after, on this machine."""

from __future__ import annotations

import msgspec


class Measured(msgspec.Struct, frozen=True, kw_only=True):
    """One form of a model. `perplexity` over the card's text; tokens per second of one stream,
    on an engine of this machine. None is what could not be measured."""

    name: str
    format: str
    quantization: str
    size_bytes: int
    engine: str = ""
    perplexity: float | None = None
    prompt_tokens_per_second: float | None = None
    output_tokens_per_second: float | None = None


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """How the second of two models predicts a text, beside the first.

    Perplexities are exp of the mean loss in nats; `top_agreement` is the share of positions where
    both hold the same word the likeliest; `kl_divergence` the mean over positions of
    sum p log(p/q) in nats, p being the first model.
    """

    positions: int
    perplexity_before: float
    perplexity_after: float
    top_agreement: float
    kl_divergence: float


class Bounds(msgspec.Struct, frozen=True, kw_only=True):
    """How much worse a result may be before a person is asked.

    `perplexity_rise` is a share (0.1 for a tenth), `top_agreement` the least share of positions
    where both forms hold the same word the likeliest.
    """

    perplexity_rise: float = 0.10
    top_agreement: float = 0.80


class Card(msgspec.Struct, frozen=True, kw_only=True):
    """`top_agreement` and `kl_divergence` (nats, mean over positions) compare the two over
    `positions` places of the text. `notes` say what was not measured, and why."""

    before: Measured
    after: Measured
    text: str
    positions: int = 0
    top_agreement: float | None = None
    kl_divergence: float | None = None
    measured_at: float = 0.0
    processor: str = ""
    notes: tuple[str, ...] = ()

    def complaints(self, bounds: Bounds) -> list[str]:
        """In words, what is worse than the bounds allow; empty when nothing is."""
        found = []
        before, after = self.before.perplexity, self.after.perplexity
        if before and after and after > before * (1 + bounds.perplexity_rise):
            found.append(
                f"perplexity rose by {after / before - 1:.0%}, and {bounds.perplexity_rise:.0%}"
                " is allowed"
            )
        if self.top_agreement is not None and self.top_agreement < bounds.top_agreement:
            found.append(
                f"only {self.top_agreement:.0%} of the likeliest words stayed the same, and"
                f" {bounds.top_agreement:.0%} are wanted"
            )
        return found
