"""Watch a store or a sweep: a live screen on a terminal, a line for each change elsewhere."""

import os
import sys
import time
from contextlib import suppress
from pathlib import Path

from rich.live import Live

from crackdet.analysis.tables import console
from crackdet.core.output import reader_is_gone
from crackdet.watch.monitor import StoreMonitor
from crackdet.watch.screen import Screen, change_line

FIRST_UPDATE = 0.3  # seconds, so that the screen appears at once
READ_SHARE = 0.3  # of the interval may be spent reading while there are unread runs


def watch(folder: Path, once: bool = False, every: float = 1.0) -> None:
    """Show the runs until Ctrl-C, or once.

    Args:
        every: Seconds between updates.

    Raises:
        UserError: If there is no such folder.
    """
    monitor = StoreMonitor(folder)
    out = console()
    try:
        if once:
            _read_all(monitor)
            out.print(Screen(monitor).render())
            return
        with suppress(OSError, AttributeError):  # AttributeError: on Windows
            os.nice(10)  # the watched runs come first
        if out.is_terminal:
            _show_live(monitor, every)
        else:
            _print_changes(monitor, every)
    except KeyboardInterrupt:  # how the user leaves
        return


def _read_all(monitor: StoreMonitor) -> None:
    while monitor.update() or monitor.num_unread:
        pass


def _show_live(monitor: StoreMonitor, every: float) -> None:
    screen, out = Screen(monitor), console()
    monitor.update(FIRST_UPDATE)
    with Live(screen.render(out.height), console=out, auto_refresh=False) as live:
        while not reader_is_gone():
            live.update(screen.render(out.height), refresh=True)
            time.sleep(every if not monitor.num_unread else every * (1 - READ_SHARE))
            monitor.update(every * READ_SHARE)


def _print_changes(monitor: StoreMonitor, every: float) -> None:
    _read_all(monitor)
    console().print(Screen(monitor).render())
    sys.stdout.flush()
    while not reader_is_gone():
        time.sleep(every)
        for run in monitor.update():
            print(change_line(run), flush=True)
