"""Run Python in forks of a process that has imported torch, Hydra, ..., which saves two seconds of each command.

Otherwise the forks are as new as processes that Python starts: no module of crackdet is imported. Tests of imports, of
signals, or of several processes at once use `subprocess`.
"""

import atexit
import functools
import importlib
import json
import os
import runpy
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

MODULES = ("hydra", "numpy", "PIL.Image", "rich.console", "safetensors.torch", "torch", "typer", "yaml")
TIMEOUT = 300  # seconds


def run_python(arguments: Sequence[str | Path], folder: Path) -> "subprocess.CompletedProcess[str]":
    """Return what `python ARGUMENTS` printed in a folder, and its exit status, negative for a signal.

    Args:
        arguments: Of Python: a script or `-m`, a module, and what they are given.
    """
    server = _server()
    assert server.stdin is not None and server.stdout is not None
    with tempfile.TemporaryDirectory() as name:
        outputs = [Path(name) / stream for stream in ("stdout", "stderr")]
        line = [str(argument) for argument in arguments]
        request = [line, str(folder), dict(os.environ), list(map(str, outputs))]
        server.stdin.write(json.dumps(request) + "\n")
        server.stdin.flush()
        status = int(server.stdout.readline())
        return subprocess.CompletedProcess(line, status, *(file.read_text() for file in outputs))


@functools.cache
def _server() -> "subprocess.Popen[str]":
    server = subprocess.Popen([sys.executable, __file__], text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    atexit.register(server.communicate)  # closes its input, and waits
    return server


def _serve() -> None:
    """Fork for each request; return in the fork, and after the last request."""
    for module in MODULES:
        importlib.import_module(module)
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            _become(*json.loads(line))
            return
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)


def _become(arguments: list[str], folder: str, environment: dict[str, str], outputs: list[str]) -> Any:
    """Run a script or a module in this process, as Python would."""
    signal.alarm(TIMEOUT)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    for number, path in enumerate([os.devnull, *outputs]):
        file = os.open(path, os.O_RDWR | os.O_CREAT)
        os.dup2(file, number)
        os.close(file)
    if arguments[0] == "-m":
        sys.path[0], sys.argv = folder, arguments[1:]
        return runpy.run_module(arguments[1], run_name="__main__", alter_sys=True)
    sys.path[0], sys.argv = str(Path(arguments[0]).parent), list(arguments)
    return runpy.run_path(arguments[0], run_name="__main__")


if __name__ == "__main__":
    _serve()
