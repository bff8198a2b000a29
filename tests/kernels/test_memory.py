import os

import numpy as np
import pytest

from xfelred.kernels.memory import PAGE_BACKED, Assembly, is_uniform, page_backed


@pytest.mark.parametrize("dtype", ["f8", "i4", "f4"])
@pytest.mark.parametrize("shape", [(), (0,), (3, 4), (PAGE_BACKED // 4, 2)])
def test_memory_is_zero_and_can_be_written(shape, dtype):
    array = page_backed(shape, dtype)
    assert array.shape == shape
    assert array.dtype == dtype
    assert not array.any()
    array[...] = 1
    assert array.all()


def test_a_forked_child_has_memory_of_its_own():
    array = page_backed((PAGE_BACKED,))
    child = os.fork()
    if child == 0:
        array[:] = 5
        os._exit(0)
    os.waitpid(child, 0)
    assert not array.any()


def joined(pieces, places, shape, **options):
    whole = Assembly(shape, **options)
    for place, piece in zip(places, pieces, strict=True):
        whole.put(place, piece)
    return whole.whole()


def test_pieces_of_one_number_stay_one_number():
    places = [(slice(0, 2),), (slice(2, 5),)]
    same = [np.broadcast_to(7, (2, 3)), np.broadcast_to(7, (3, 3))]
    found = joined(same, places, (5,))
    assert is_uniform(found)
    assert (found == 7).all()
    assert found.shape == (5, 3)
    for other in (np.broadcast_to(8, (3, 3)), np.arange(9).reshape(3, 3)):
        found = joined([same[0], other], places, (5,))
        np.testing.assert_array_equal(found, np.concatenate([same[0], other]))
    found = joined([np.arange(6).reshape(2, 3), same[1]], places, (5,))
    np.testing.assert_array_equal(found[2:], same[1])


def test_pieces_are_put_into_memory_that_is_there():
    places = [(slice(0, 2),), (slice(2, 5),)]
    pieces = [np.broadcast_to(7, (2, 3)), np.arange(9).reshape(3, 3)]
    out = np.zeros((5, 3))
    assert joined(pieces, places, (5,), out=out) is out
    np.testing.assert_array_equal(out, np.concatenate(pieces))


def test_pieces_get_the_dtype_of_the_whole():
    places = [(slice(0, 2),), (slice(2, 5),)]
    pieces = [np.broadcast_to(7, (2, 3)), np.arange(9).reshape(3, 3)]
    for some in (pieces, [pieces[0], np.broadcast_to(7, (3, 3))]):
        found = joined(some, places, (5,), dtype="f4")
        assert found.dtype == "f4"
        np.testing.assert_array_equal(found, np.concatenate(some))


@pytest.mark.parametrize("shape", [(1, 1), (1,), ()])
def test_one_number_is_one_number(shape):
    assert is_uniform(np.zeros(shape))


def test_nothing_is_not_one_number():
    assert not is_uniform(np.zeros((0, 3)))
    assert not is_uniform(np.zeros(2))
