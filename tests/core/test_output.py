"""Standard output and standard error that never fail, in processes with broken ones."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FULL = Path("/dev/full")

PRINT = r"""
import logging, sys
from crackdet.core.output import output_error, protect_output, reader_is_gone
protect_output()
for _ in range(1000):
    print("caf\u00e9 \u88c2\u7f1d \udcff", "x" * 100)
    print("error", file=sys.stderr)
sys.stdout.flush()
logging.error("a message")
error = output_error()
open(sys.argv[1], "w").write(f"{reader_is_gone()} {error.strerror if error else None}")
"""


def run_process(
    code: str, *arguments: object, shell: str = "", **environment: str
) -> "subprocess.CompletedProcess[bytes]":
    """Run code in a process whose standard streams are redirected as a shell does it."""
    line = [sys.executable, "-c", code, *map(str, arguments)]
    command = ["bash", "-c", f'"$@" {shell}', "bash", *line]
    return subprocess.run(
        command, cwd=ROOT, capture_output=True, timeout=60, env={**os.environ, **environment}, check=False
    )


@pytest.mark.skipif(os.name == "nt", reason="needs a shell")
@pytest.mark.parametrize(
    ("shell", "outcome"),
    [
        ("", "False None"),
        (">&-", "False None"),
        ("2>&-", "False None"),
        ("<&- >&- 2>&-", "False None"),
        ("| head -n 1 > /dev/null", "True None"),
        ("2>&1 | head -n 1 > /dev/null", "True None"),
        (">/dev/full", "False No space left on device"),
        (">/dev/full 2>/dev/full", "False No space left on device"),
    ],
)
def test_no_output_ends_a_process(tmp_path: Path, shell: str, outcome: str) -> None:
    if "full" in shell and not FULL.exists():
        pytest.skip("needs /dev/full")
    done = run_process(PRINT, tmp_path / "reached", shell=f"{shell}; exit ${{PIPESTATUS[0]}}")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "reached").read_text() == outcome
    assert b"Traceback" not in done.stderr and b"Exception" not in done.stderr
    if "2>" not in shell:
        assert (b"standard output: cannot be written" in done.stderr) == ("full" in shell)


@pytest.mark.parametrize(
    ("encoding", "text"),
    [("ascii", rb"caf\xe9 \u88c2\u7f1d \udcff"), ("latin-1", b"caf\xe9 \\u88c2\\u7f1d \\udcff")],
)
def test_characters_that_a_terminal_cannot_show_are_escaped(tmp_path: Path, encoding: str, text: bytes) -> None:
    done = run_process(PRINT, tmp_path / "reached", PYTHONIOENCODING=encoding)
    assert done.stdout.startswith(text + b" x"), done.stdout[:100]


FILES = """
import os
from crackdet.core.output import protect_output
protect_output()
print(os.open(os.devnull, os.O_RDONLY))
"""


@pytest.mark.skipif(os.name == "nt", reason="needs a shell")
def test_no_other_file_takes_the_place_of_a_closed_stream() -> None:
    assert int(run_process(FILES, shell="<&- 2>&-").stdout) > 2


def test_the_output_of_tests_and_notebooks_is_left_alone(capsys: pytest.CaptureFixture[str]) -> None:
    from crackdet.core.output import protect_output

    before = sys.stdout, sys.stderr
    protect_output()
    assert (sys.stdout, sys.stderr) == before
