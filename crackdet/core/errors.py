"""Errors that are reported as one message without a traceback."""


class UserError(Exception):
    """A mistake in a command, a configuration or a data set.

    The message says what is wrong, where (file or configuration key) and what would be right. Commands print it and
    exit with status 2.
    """


class RunFailed(Exception):
    """A run that started and failed; its `failure.json` records the reason."""

    retryable = True  # whether another attempt may succeed


class NotFinite(RunFailed):
    """The loss is NaN or infinite. Deterministic: not retried."""

    retryable = False


class DeviceLost(RunFailed):
    """The GPU is unusable for this process and all its further runs; another process may use it."""


class Pruned(Exception):
    """A search stopped the run because others were better at this epoch; its state is saved, so it can be resumed."""


class WriteFailed(OSError):
    """A file could not be written, for lack of space or permission; what was there before is intact."""


class StoreError(UserError):
    """A run directory does not contain what it should, or is not accessible."""


class FolderGone(StoreError):
    """A run directory was moved, removed or replaced while its run was trained: nothing can be recorded there."""


class StoreGone(FolderGone):
    """The run store or the folder of the sweep was moved, removed or replaced: no other run can be trained either."""


def first_line(error: Exception) -> str:
    """Return the first line of an error's message, or its type if the message is empty."""
    return next(iter(str(error).splitlines()), "") or type(error).__name__
