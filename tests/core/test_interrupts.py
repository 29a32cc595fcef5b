"""Ctrl-C outside of training."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.skipif(os.name == "nt", reason="signals of Windows differ")

START = """
import os, signal
from crackdet.core.interrupts import exit_on_interrupt, interruptible
exit_on_interrupt()
def press(): os.kill(os.getpid(), signal.SIGINT)
"""
CASES = {
    "before the command": "press()",
    "during an import": "with interruptible():\n    import pressing",
    "for the second time": "with interruptible():\n    try: press()\n    except KeyboardInterrupt: press()",
    "after the command": "with interruptible(): pass\npress()",
}


def run_python(code: str, folder: Path) -> "subprocess.CompletedProcess[str]":
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{folder}"}
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, timeout=60)


@pytest.mark.parametrize("code", CASES.values(), ids=CASES.keys())
def test_ctrl_c_ends_the_process_without_a_traceback(tmp_path: Path, code: str) -> None:
    (tmp_path / "pressing.py").write_text("import os, signal\nos.kill(os.getpid(), signal.SIGINT)\n")
    done = run_python(f"{START}\n{code}\nprint('went on')", tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "stopped\n")


def test_the_first_ctrl_c_during_a_command_can_be_handled(tmp_path: Path) -> None:
    code = "with interruptible():\n    try: press()\n    except KeyboardInterrupt: print('handled')"
    assert run_python(f"{START}\n{code}", tmp_path).stdout == "handled\n"


def test_a_process_in_the_background_still_ignores_ctrl_c(tmp_path: Path) -> None:
    code = START.replace("\nexit_on", "\nsignal.signal(signal.SIGINT, signal.SIG_IGN)\nexit_on", 1)
    assert run_python(f"{code}\npress()\nprint('went on')", tmp_path).stdout == "went on\n"


@pytest.mark.parametrize(
    "command", [["train.py", "-m", "seed=0,1"], ["train.py"], ["-m", "crackdet", "summary"]], ids=" ".join
)
def test_the_first_thing_a_command_does_is_to_handle_ctrl_c(tmp_path: Path, command: list[str]) -> None:
    """Another module that takes the place of `signal` shows what is imported before: nothing that takes time."""
    (tmp_path / "sitecustomize.py").write_text(
        "import sys\n"
        "class Finder:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name in ('pathlib', 'logging', 'hydra', 'typer', 'typing', 'dataclasses'):\n"
        "            import _signal, os\n"
        "            os.write(1, str(_signal.getsignal(2)).encode()); os._exit(3)\n"
        "sys.meta_path.insert(0, Finder())\n"
    )
    environment = {**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"}
    if command[0] == "train.py":
        command = [str(ROOT / "train.py"), *command[1:]]
    done = subprocess.run(
        [sys.executable, *command], cwd=tmp_path, capture_output=True, text=True, env=environment, timeout=60,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )  # fmt: skip
    assert done.returncode == 3 and "_on_interrupt" in done.stdout, done.stdout + done.stderr
