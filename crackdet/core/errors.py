"""What a user can get wrong, as one message without a traceback."""


class UserError(Exception):
    """A mistake in a command, a configuration or a data set.

    The message says what was wrong, where (file or configuration key) and what would be right.
    Commands print it and leave with exit status 2.
    """


class RunFailed(Exception):
    """A run that began and could not end; its reason stands in the run's `failure.json`."""

    retryable = True  # whether another attempt may succeed


class NotFinite(RunFailed):
    """The loss is NaN or infinite: so it will be again."""

    retryable = False


class DeviceLost(RunFailed):
    """The GPU has failed for this process, whatever run comes next; another process may use it."""


class Pruned(Exception):
    """A run that a search stopped because others were better at this epoch; its state is saved, it can be finished."""


class WriteFailed(OSError):
    """A file that could not be written: no room, no permission. What was written before is intact."""


class StoreError(UserError):
    """A run directory that holds something else than it should."""
