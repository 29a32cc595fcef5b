"""Work on many items in threads, with a progress bar."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from crackdet.core.console import bar

Item = TypeVar("Item")
Result = TypeVar("Result")


def thread_map(
    title: str,
    function: Callable[[Item], Result],
    items: Sequence[Item],
    num_threads: int | None = None,
    log_progress: bool = True,
) -> list[Result]:
    """Return the result for each item, in order; an interrupt does not wait for the remaining items.

    Args:
        title: Of the progress bar.
        function: Called in threads; it must spend its time in code that releases the GIL.
        num_threads: None: the default of Python, for functions that wait for files.
        log_progress: See `bar`.
    """
    pool = ThreadPoolExecutor(num_threads)
    try:
        with bar(title, len(items), log_progress=log_progress) as progress:
            results = []
            for result in pool.map(function, items):
                results.append(result)
                progress.advance()
            return results
    finally:
        pool.shutdown(cancel_futures=True)
