from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from dimora.runtime.queueing import AGEING_SECONDS, FairQueue, Waiting


def served(queue: FairQueue, now: float = 0.0) -> list[int]:
    """One after the other, each ended before the next begins."""
    order = []
    while (waiting := queue.pop(now)) is not None:
        order.append(waiting.ticket)
        queue.release(waiting.workspace)
    return order


def test_one_workspace_is_served_in_order_of_arrival():
    queue = FairQueue()
    for ticket in (1, 2, 3):
        queue.push(Waiting(ticket, "a", False, float(ticket)))
    assert served(queue) == [1, 2, 3]


def test_a_flood_of_one_workspace_does_not_hold_up_another():
    queue = FairQueue()
    for ticket in range(1, 101):
        queue.push(Waiting(ticket, "flood", False, 0.0))
    queue.push(Waiting(1000, "quiet", False, 1.0))
    assert served(queue).index(1000) <= 1


def test_a_weight_of_two_gets_two_turns_for_one():
    queue = FairQueue({"double": 2.0})
    for ticket in range(30):
        queue.push(Waiting(ticket, "double", False, 0.0))
        queue.push(Waiting(100 + ticket, "single", False, 0.0))
    first = [ticket < 100 for ticket in served(queue)[:30]]
    assert 19 <= sum(first) <= 21


def test_interactive_goes_before_batch():
    queue = FairQueue()
    queue.push(Waiting(1, "a", True, 0.0))
    queue.push(Waiting(2, "b", False, 5.0))
    assert served(queue, now=5.0) == [2, 1]


def test_a_batch_request_that_waited_long_is_not_starved():
    queue = FairQueue()
    queue.push(Waiting(1, "a", True, 0.0))
    queue.push(Waiting(2, "a", False, AGEING_SECONDS))
    assert served(queue, now=AGEING_SECONDS + 1)[0] == 1


def test_a_heap_of_batch_requests_that_waited_long_does_not_hold_up_the_others():
    queue = FairQueue()
    for ticket in range(100):
        queue.push(Waiting(ticket, "a", True, 0.0))
    for ticket in range(100, 110):
        queue.push(Waiting(ticket, "a", False, AGEING_SECONDS))
    order = served(queue, now=AGEING_SECONDS + 1)
    assert order[:12] == [0, *range(100, 110), 1]
    for ticket in (200, 201):
        queue.push(Waiting(ticket, "a", True, 0.0))
    queue.pop(100.0)
    queue.push(Waiting(202, "a", False, 100.0))
    assert queue.peek(100.0 + AGEING_SECONDS - 1).ticket == 202
    assert queue.peek(100.0 + AGEING_SECONDS).ticket == 201


def test_one_who_holds_fewer_places_comes_first():
    queue = FairQueue()
    for ticket in range(4):
        queue.push(Waiting(ticket, "a", False, 0.0))
    assert [queue.pop(0.0).ticket for _ in range(3)] == [0, 1, 2]
    for ticket in range(10, 14):
        queue.push(Waiting(ticket, "b", False, 1.0))
    assert [queue.pop(1.0).ticket for _ in range(4)] == [10, 11, 12, 3]


def test_the_next_of_those_who_may_is_found_behind_one_who_may_not():
    queue = FairQueue()
    queue.push(Waiting(1, "a", False, 0.0))
    queue.push(Waiting(2, "a", False, 1.0))
    queue.push(Waiting(3, "b", False, 2.0))
    assert queue.peek(3.0, lambda w: w.workspace == "b").ticket == 3
    assert queue.peek(3.0, lambda w: w.ticket == 2) is None, "the order of a workspace is kept"


def test_nothing_is_remembered_of_those_who_are_gone():
    queue = FairQueue()
    for number in range(500):
        for ticket in range(3):
            queue.push(Waiting(3 * number + ticket, f"w{number}", ticket == 1, 0.0))
        queue.remove(3 * number)
    served(queue)
    queue.push(Waiting(5000, "last", False, 0.0))
    served(queue)
    assert sum(len(kept) for kept in vars(queue).values() if hasattr(kept, "__len__")) < 5


def test_one_who_was_away_saves_up_no_turns():
    queue = FairQueue()
    for ticket in range(20):
        queue.push(Waiting(ticket, "busy", False, 0.0))
    for _ in range(10):
        queue.pop(0.0)
        queue.release("busy")
    for ticket in range(100, 110):
        queue.push(Waiting(ticket, "returns", False, 1.0))
    first_ten = served(queue, 1.0)[:10]
    assert 4 <= sum(t >= 100 for t in first_ten) <= 6


@given(
    st.lists(
        st.tuples(st.sampled_from("abc"), st.booleans(), st.floats(0, 100)),
        min_size=1,
        max_size=30,
    ),
    st.integers(0, 10),
)
def test_the_place_told_is_the_place_taken(entries, already):
    queue = FairQueue({"c": 2.0})
    for ticket, (workspace, batch, arrived) in enumerate(entries, 1):
        queue.push(Waiting(ticket, workspace, batch, arrived))
    gone = {queue.pop(50.0).ticket for _ in range(min(already, len(entries)))}
    places = queue.places(50.0)
    order = []
    while (waiting := queue.pop(50.0)) is not None:
        order.append(waiting.ticket)
    assert places == {ticket: at for at, ticket in enumerate(order, 1)}
    assert sorted([*order, *gone]) == list(range(1, len(entries) + 1))
    for workspace in "abc":
        for batch in (False, True):
            line = [
                t for t in order if (entries[t - 1][0], entries[t - 1][1]) == (workspace, batch)
            ]
            assert line == sorted(line), "in order of arrival"


def test_one_who_left_has_no_place():
    queue = FairQueue()
    queue.push(Waiting(1, "a", False, 0.0))
    assert queue.remove(1)
    assert not queue.remove(1)
    assert queue.places(0.0) == {}
    assert len(queue) == 0
