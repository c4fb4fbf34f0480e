from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from dimora.runtime.queueing import AGEING_SECONDS, FairQueue, Waiting


def served(queue: FairQueue, now: float = 0.0) -> list[int]:
    order = []
    while (waiting := queue.pop(now)) is not None:
        order.append(waiting.ticket)
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


def test_one_who_was_away_saves_up_no_turns():
    queue = FairQueue()
    for ticket in range(20):
        queue.push(Waiting(ticket, "busy", False, 0.0))
    for _ in range(10):
        queue.pop(0.0)
    for ticket in range(100, 110):
        queue.push(Waiting(ticket, "returns", False, 1.0))
    first_ten = served(queue, 1.0)[:10]
    assert 4 <= sum(t >= 100 for t in first_ten) <= 6


@given(
    st.lists(
        st.tuples(st.sampled_from("abc"), st.booleans(), st.floats(0, 100)),
        min_size=1,
        max_size=30,
    )
)
def test_the_place_told_is_the_place_taken(entries):
    queue = FairQueue()
    for ticket, (workspace, batch, arrived) in enumerate(entries, 1):
        queue.push(Waiting(ticket, workspace, batch, arrived))
    places = {t: queue.place(t, 50.0) for t in range(1, len(entries) + 1)}
    order = served(queue, 50.0)
    assert places == {ticket: at for at, ticket in enumerate(order, 1)}
    assert sorted(order) == list(range(1, len(entries) + 1))


def test_one_who_left_has_no_place():
    queue = FairQueue()
    queue.push(Waiting(1, "a", False, 0.0))
    assert queue.remove(1)
    assert not queue.remove(1)
    assert queue.place(1, 0.0) == 0
    assert len(queue) == 0
