"""Standard output and standard error that never fail.

The reader of a pipe may exit (`| head`, a killed `tee`, a closed terminal), the disk of a log may be full, a service
may have no standard output, and a terminal may be unable to show a character. Such output is dropped or replaced.
"""

import codecs
import errno
import io
import logging
import os
import select
import sys
from typing import TextIO

NAMES = {1: "standard output", 2: "standard error"}
READER_GONE = (errno.EPIPE, errno.EIO)  # the reader of a pipe has closed it; the terminal was closed
READER_GONE_STATUS = 141  # the exit status that a shell reports for SIGPIPE
KEEP_BYTES = "crackdet.keep_bytes"  # error handler: writes the bytes of file names, and escapes other characters
STALLED_SECONDS = 60.0  # after which a full pipe that must not be waited for counts as gone


class _StandardStream(io.FileIO):
    """Drops what cannot be written, and reports that once on standard error."""

    error: OSError | None = None  # the first one

    def write(self, data) -> int:  # type: ignore[no-untyped-def]  # any buffer
        try:
            while (written := super().write(data)) is None:  # a full pipe, which another process made non-blocking
                if not select.select([], [self], [], STALLED_SECONDS)[1]:
                    raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE))
        except OSError as error:
            if self.error is None:
                self.error = error
                self._report(error)
            return memoryview(data).nbytes
        return written

    def _report(self, error: OSError) -> None:
        if error.errno not in READER_GONE and self.fileno() != 2:
            message = (
                f"{NAMES[self.fileno()]}: cannot be written ({error.strerror}); the command continues without it\n"
            )
            try:
                os.write(2, message.encode())
            except OSError:
                return


def protect_output() -> None:
    """Make standard output and standard error of this process safe to write to."""
    _open_missing_descriptors()
    sys.stdout = _protected(sys.stdout, 1)
    sys.stderr = _protected(sys.stderr, 2)
    logging.raiseExceptions = False  # no traceback if a log file cannot be written


def reader_is_gone() -> bool:
    """Return whether nobody reads standard output any more."""
    if (stream := _raw(sys.stdout)) is None:
        return False
    if hasattr(select, "poll"):
        poll = select.poll()
        poll.register(stream, 0)  # a pipe without a reader, and a closed terminal, are reported in any case
        return any(event & (select.POLLERR | select.POLLHUP) for _, event in poll.poll(0))
    return stream.error is not None and stream.error.errno in READER_GONE


def output_error() -> OSError | None:
    """Flush standard output; return why not all of it was written, if somebody still reads it."""
    sys.stdout.flush()
    stream = _raw(sys.stdout)
    return None if stream is None or stream.error is None or stream.error.errno in READER_GONE else stream.error


def _open_missing_descriptors() -> None:
    """Open the null device as each missing standard descriptor, which the next file to be opened would get."""
    for descriptor in (0, 1, 2):
        try:
            os.fstat(descriptor)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)


def _protected(stream: TextIO | None, descriptor: int) -> TextIO:
    if stream is None:
        stream = open(descriptor, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
    buffer = getattr(stream, "buffer", None)
    if not isinstance(stream, io.TextIOWrapper) or type(getattr(buffer, "raw", buffer)) is not io.FileIO:
        return stream  # replaced by a notebook or a test, a Windows console, or protected already
    if stream.fileno() != descriptor:
        return stream
    stream.flush()
    return io.TextIOWrapper(
        io.BufferedWriter(_StandardStream(descriptor, "w", closefd=False)),
        encoding=stream.encoding,
        errors="backslashreplace",
        line_buffering=stream.line_buffering or descriptor == 2,
        write_through=stream.write_through,
    )


def _raw(stream: object) -> _StandardStream | None:
    raw = getattr(getattr(stream, "buffer", None), "raw", None)
    return raw if isinstance(raw, _StandardStream) else None


def _keep_bytes(error: UnicodeError) -> tuple[str | bytes, int]:
    try:
        return codecs.lookup_error("surrogateescape")(error)
    except UnicodeError:
        return codecs.backslashreplace_errors(error)


codecs.register_error(KEEP_BYTES, _keep_bytes)
