"""Conversations return to their slots, and no scope is given what another has read."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from dimora.engines._beginnings import Words
from dimora.engines._llama_cpp_slots import Place, Slots

SYSTEM = "You are kind. "


def ask(slots: Slots, scope: str, prompt: Words, *, read: bool = True) -> Place:
    place = slots.take(scope, prompt)
    assert place is not None
    slots.release(place, read=read)
    return place


def test_a_conversation_returns_to_its_slot() -> None:
    slots = Slots(3)
    first = ask(slots, "a", "One question. ")
    ask(slots, "a", "Something else. ")
    assert ask(slots, "a", "One question. Its answer. Another one.") == (first.number, True)


def test_the_slot_that_begins_most_alike_is_taken() -> None:
    slots = Slots(3)
    places = [ask(slots, "a", (*range(length), 90 + length)) for length in (9, 3, 6)]
    assert len({place.number for place in places}) == 2, "the third goes on where the first was"
    assert ask(slots, "a", (0, 1, 2, 93, 4)) == (places[1].number, True)


def test_a_long_conversation_is_not_forgotten_for_a_short_beginning() -> None:
    slots = Slots(2)
    long = ask(slots, "a", SYSTEM + "word " * 100)
    short = ask(slots, "a", SYSTEM + "Hello")
    assert short.number != long.number
    assert ask(slots, "a", SYSTEM + "word " * 100 + "more").number == long.number


def test_another_scope_uses_nothing_of_what_was_read() -> None:
    slots = Slots(1)
    assert not ask(slots, "a", SYSTEM).ours
    assert not ask(slots, "b", SYSTEM).ours
    assert ask(slots, "b", SYSTEM).ours
    assert not ask(slots, "a", SYSTEM).ours


def test_an_unused_slot_comes_before_another_conversation_and_the_oldest_before_newer_ones() -> (
    None
):
    slots = Slots(2)
    first = ask(slots, "a", "abc")
    second = ask(slots, "b", "abc")
    assert second.number != first.number
    ask(slots, "a", "abcd")
    assert ask(slots, "c", "abc").number == second.number


def test_a_slot_that_is_taken_is_nobody_elses() -> None:
    slots = Slots(2)
    first, second = slots.take("a", SYSTEM), slots.take("a", SYSTEM)
    assert first is not None and second is not None
    assert first.number != second.number
    assert slots.take("a", SYSTEM) is None
    slots.release(first, read=True)
    assert slots.take("a", SYSTEM) == (first.number, True)


def test_what_was_not_read_may_have_left_the_words_of_the_scope_before() -> None:
    slots = Slots(1)
    ask(slots, "a", SYSTEM)
    assert not ask(slots, "b", SYSTEM, read=False).ours
    assert not ask(slots, "b", SYSTEM).ours
    assert ask(slots, "b", SYSTEM, read=False).ours
    assert ask(slots, "b", SYSTEM).ours, "only words of b can be there"


@given(
    st.lists(
        st.tuples(
            st.sampled_from("ab"),
            st.text("xy", min_size=1, max_size=4),
            st.booleans(),
            st.booleans(),
        ),
        max_size=40,
    )
)
def test_in_any_order_a_place_is_ours_only_when_all_it_holds_is(asked) -> None:
    """A server that keeps what it read is played beside; it reads, or is stopped before."""
    slots = Slots(2)
    held: list[set[str]] = [set(), set()]
    running: list[tuple[str, Place]] = []
    for scope, prompt, reads, waits in asked:
        place = slots.take(scope, prompt)
        if place is None:
            for other, left in running:
                slots.release(left, read=True)
                held[left.number] |= {other}
            running.clear()
            continue
        if place.ours:
            assert held[place.number] <= {scope}
        elif reads:
            held[place.number] = set()
        if waits and reads:
            held[place.number] |= {scope}
            running.append((scope, place))
            continue
        if reads:
            held[place.number] |= {scope}
        slots.release(place, read=reads)
