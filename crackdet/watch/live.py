"""A store or a sweep, live: on a terminal a screen that is drawn anew, elsewhere a line for each change."""

import os
import sys
import time
from contextlib import suppress
from pathlib import Path

from rich.live import Live

from crackdet.analysis.tables import console
from crackdet.watch.monitor import StoreMonitor
from crackdet.watch.screen import Screen, report

__all__ = ["watch"]

FIRST_LOOK = 0.3  # seconds, so that something is seen at once
SHARE = 0.3  # of the time between two looks may be spent reading, as long as there is something new to read


def watch(folder: Path, once: bool = False, every: float = 1.0) -> None:
    """Shows the runs until Ctrl-C, or `once` as they are; looks again `every` so many seconds.

    Raises:
        UserError: where there is no such folder.
    """
    board = StoreMonitor(folder)
    out = console()
    with suppress(OSError, AttributeError):  # Windows has no such thing
        os.nice(10)  # the runs that are watched come first
    try:
        if once:
            while board.look() or board.unread:
                pass
            out.print(Screen(board).draw())
        elif out.is_terminal:
            _live(board, every)
        else:
            _lines(board, every)
    except KeyboardInterrupt:  # the way to leave
        return
    except BrokenPipeError:  # whoever read the lines has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _live(board: StoreMonitor, every: float) -> None:
    screen, out = Screen(board), console()
    board.look(FIRST_LOOK)
    with Live(screen.draw(out.height), console=out, auto_refresh=False) as live:
        while True:
            live.update(screen.draw(out.height), refresh=True)
            time.sleep(every if not board.unread else every * (1 - SHARE))
            board.look(every * SHARE)


def _lines(board: StoreMonitor, every: float) -> None:
    while board.look() or board.unread:
        pass
    console().print(Screen(board).draw())
    while True:
        time.sleep(every)
        for seen in board.look():
            print(report(seen), flush=True)
