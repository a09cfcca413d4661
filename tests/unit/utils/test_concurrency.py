import gc
import threading
import weakref

import pytest

from assay.utils.concurrency import map_in_order, usable_cores


def test_values_come_in_the_order_of_the_items_although_the_first_takes_longest():
    second_is_done = threading.Event()

    def slow_first(item: int) -> int:
        if item == 0:
            assert second_is_done.wait(60)
        if item == 1:
            second_is_done.set()
        return item * item

    assert list(map_in_order(slow_first, range(20), workers=3)) == [item * item for item in range(20)]


@pytest.mark.parametrize("count", [0, 1, 5])
def test_any_number_of_items_is_done_once(count):
    assert list(map_in_order(str, range(count), workers=2)) == [str(item) for item in range(count)]


@pytest.mark.defect("C11")
@pytest.mark.system
def test_no_more_values_live_than_are_in_flight():
    class Value:
        pass

    alive = weakref.WeakSet()

    def make(_: int) -> Value:
        value = Value()
        alive.add(value)
        return value

    most = 0
    for _ in map_in_order(make, range(200), workers=2):
        most = max(most, len(alive))
    gc.collect()
    assert most <= 2 * 2 + 2


def test_an_error_comes_out_and_later_items_are_never_started():
    started = []

    def fail_at_three(item: int) -> int:
        started.append(item)
        if item == 3:
            raise ValueError("three")
        return item

    with pytest.raises(ValueError, match="three"):
        list(map_in_order(fail_at_three, range(1000), workers=2))
    assert max(started) < 20


def test_stopping_early_leaves_no_thread_behind():
    values = map_in_order(str, range(100), workers=2)
    assert next(values) == "0"
    values.close()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("assay_")]


def test_there_is_at_least_one_usable_core():
    assert usable_cores() >= 1
