"""Results of many computations, as they come: on workers none waits for a batch."""

import dask
import pytest

from xfelred.errors import XfelredError
from xfelred.lazy import in_flight
from xfelred.lazy.in_flight import each, results_of


class Future:
    """What a cluster promises; it ends when the test says so."""

    def __init__(self, value, cluster):
        self.value, self.cluster, self.callback = value, cluster, None

    def add_done_callback(self, function):
        self.callback = function
        begun = self.cluster.futures.index(self) + 1
        for number in self.cluster.ends.get(begun, ()):
            ended = self.cluster.futures[number]
            ended.callback(ended)

    def result(self):
        if isinstance(self.value, Exception):
            raise self.value
        return self.value


class Cluster:
    """A client whose lazy things are plain values; `ends[n]` when n have begun."""

    def __init__(self, ends):
        self.ends, self.futures, self.cancelled = ends, [], []

    def compute(self, values):
        self.futures += [Future(v, self) for v in values]
        return self.futures[-len(values) :]

    def cancel(self, futures):
        self.cancelled += futures


@pytest.fixture
def cluster(monkeypatch):
    def made(ends):
        found = Cluster(ends)
        monkeypatch.setattr(in_flight, "client", lambda: found)
        return found

    return made


def groups(values, seen):
    for value in values:
        seen.append(value)
        yield [(f"{value}", value)]


def test_threads_compute_one_group_after_another():
    made = []

    def lazy():
        for i in range(3):
            made.append(i)
            yield [(f"{i}{k}", dask.delayed(10 * i + k)) for k in range(2)]

    with results_of(lazy(), 10) as found:
        assert next(found) == [("00", 0), ("01", 1)]
        assert made == [0]
        assert [*found] == [[("10", 10), ("11", 11)], [("20", 20), ("21", 21)]]


def test_what_ends_first_comes_first_and_makes_room_for_one_more(cluster):
    # The second of three ends; when a fourth has begun the first one; then all.
    made, seen = cluster({3: [1], 4: [0], 5: [4, 2, 3]}), []
    with results_of(groups(range(5), seen), 3) as found:
        assert next(found) == [("1", 1)]
        assert seen == [0, 1, 2]
        assert next(found) == [("0", 0)]
        assert seen == [0, 1, 2, 3]
        assert [*found] == [[(str(i), i)] for i in (4, 2, 3)]
    assert made.cancelled == []


def test_in_order_what_ended_early_waits(cluster):
    cluster({3: [1, 0], 4: [2], 5: [4, 3]})
    seen = []
    with results_of(groups(range(5), seen), 3, in_order=True) as found:
        assert next(found) == [("0", 0)]
        assert seen == [0, 1, 2]
        assert [*found] == [[(str(i), i)] for i in range(1, 5)]


def test_what_is_not_wanted_any_more_is_called_off(cluster):
    made = cluster({3: [0]})
    with results_of(groups(range(9), []), 3) as found:
        next(found)
    assert [f.value for f in made.cancelled] == [1, 2]


def test_an_error_of_one_calls_off_the_others(cluster):
    made = cluster({3: [1]})
    values = [0, XfelredError("no such shot"), 2, 3]
    with (
        pytest.raises(XfelredError, match="no such shot"),
        results_of(groups(values, []), 3) as found,
    ):
        next(found)
    assert [f.value for f in made.cancelled] == [0, 2]


def test_nothing_to_do_is_done(cluster):
    cluster({})
    with results_of([], 3) as found:
        assert [*found] == []


def test_a_function_of_every_item():
    assert each(lambda item: item[0] + len(item), [(1, 2), (3,)]) == [3, 4]
    assert each(len, []) == []
