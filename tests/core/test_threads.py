"""Work in threads."""

import threading

import pytest

from crackdet.core.threads import thread_map


def test_results_are_in_the_order_of_the_items() -> None:
    assert thread_map("squaring", lambda number: number**2, list(range(50)), 4) == [n**2 for n in range(50)]


def test_an_error_ends_the_work_on_the_remaining_items() -> None:
    started: list[int] = []
    release = threading.Event()

    def work(number: int) -> None:
        started.append(number)
        if number == 0:
            raise KeyboardInterrupt
        release.wait()

    with pytest.raises(KeyboardInterrupt):
        threading.Timer(0.2, release.set).start()
        thread_map("working", work, list(range(100)), 2)
    assert len(started) < 100
