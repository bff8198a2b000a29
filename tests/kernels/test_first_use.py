import numpy as np
from numba import njit

from xfelred.kernels import first_use
from xfelred.kernels.first_use import COMPILED, kernels_below, seconds_of_first_use


@njit
def doubled(x):
    return 2 * x


@njit
def halved(x):
    return x / 2


def by_name(x):
    return doubled(x)


def within(x):
    return [by_name(one) for one in x]


class Halving:
    def partial(self, x):
        return halved(x)


def alone(x):
    return np.sqrt(x)


# As if they were of the package: of others nothing is followed.
for one in (by_name, within, Halving, Halving.partial, alone):
    one.__module__ = "xfelred.tests"


def test_kernels_are_found_through_functions_and_classes():
    assert kernels_below(within) == {doubled}
    assert kernels_below(Halving) == {halved}
    assert kernels_below(alone) == kernels_below(np.sqrt) == frozenset()


def test_what_was_called_costs_nothing_any_more(monkeypatch):
    monkeypatch.setattr(first_use, "is_cached", lambda kernel: False)
    assert seconds_of_first_use([within, by_name, Halving]) == 2 * COMPILED
    doubled(1.0)
    assert seconds_of_first_use([within, Halving]) == COMPILED
    assert seconds_of_first_use([within], everywhere=True) == COMPILED


def test_kernels_in_the_cache_are_loaded():
    assert not first_use.is_cached(halved)
    assert seconds_of_first_use([]) == 0
