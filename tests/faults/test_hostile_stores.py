"""Stores of strangers: an odd run costs one line and hides no other, whatever its files are and hold."""

import copy
import csv
import json
import os
import random
import shutil
import signal
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
import yaml
from PIL import Image
from typer.testing import CliRunner

import crackdet
from crackdet.cli.main import app
from crackdet.core.errors import UserError
from crackdet.core.files import write_checksummed_json
from crackdet.core.reading import read_checksummed_json
from crackdet.running.execute import execute
from crackdet.store.integrity import weights_digest
from crackdet.store.paths import FILES, PUBLISHED
from crackdet.store.result import OPTIONAL, REQUIRED
from crackdet.store.run import Run
from crackdet.store.sweep_record import RECORD, SweepRecord
from tests.composing import compose
from tests.conftest import TINY
from tests.jobs import job_of, train

Change = Callable[[Path], object]
SECRET = "hunter2-0815"


def link_to(target: str) -> Change:
    return lambda path: path.symlink_to(target)


def content(data: bytes) -> Change:
    return lambda path: path.write_bytes(data)


def sparse(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(2**33)


BOMB = "a0: &a0 [1, 1]\n" + "".join(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 12))
CHANGES: Mapping[str, Change] = {
    "a named pipe": os.mkfifo,
    "a folder": Path.mkdir,
    "a link to a file outside": link_to("/etc/passwd"),
    "a link to a device": link_to("/dev/zero"),
    "a link to itself": lambda path: path.symlink_to(path.name),
    "empty": content(b""),
    "noise": content(random.Random(1).randbytes(3000)),
    "null characters": content(bytes(5000)),
    "deep": content(b"[" * 100_000),
    "a bomb": content(BOMB.encode()),
    "a value that holds itself": content(b"model: &a\n  x: *a\n"),
    "a list": content(b"[1, 2]"),
    "gigabytes": sparse,
}
VALUES: Mapping[str, Any] = {
    "nothing": None, "text": "abc", "escape codes": "\x1b]0;owned\x07\x1b[31m5", "reversed": "a\u202eb",
    "markup": "[/x]",
    "negative": -1, "zero": 0, "10^12": 10**12, "2^80": 2**80, "4,000 digits": 10**4000, "1e308": 1e308, "true": True,
    "a list": [], "an object": {}, "lists in lists": [[{"a": [1]}]], "an interpolation": "${oc.env:MY_SECRET}",
    "a path outside": "../../../../etc/passwd", "a home": "~nosuchuser/x", "a null character": "a\0b",
    "a formula": "=cmd|'/C calc'!A0", "half a character": "\ud800", "HTML": "<script>alert(1)</script>",
}  # fmt: skip

CELLS = (
    "nan",
    "inf",
    "1e308",
    "9" * 4000,
    "-1",
    "",
    "\x1b[31mx",
    "../../x.png",
    "/dev/zero",
    "a\0b",
    "=",
)  # of a table


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory, cache: Path) -> list[Run]:
    """Two finished runs of one store."""
    store = tmp_path_factory.mktemp("hostile") / "runs"
    settings = [*TINY, f"runtime.store={store}", f"runtime.cache={cache}", "runtime.device=cpu"]
    return [train(compose([*settings, f"seed={seed}"]), f"seed={seed}") for seed in range(2)]


class Hostile:
    """A store with one good run and copies of another, each of them odd in its own way."""

    def __init__(self, folder: Path, good: Run, source: Run) -> None:
        self.folder, self.good, self.source = folder, good, source
        self.root = folder / "runs"
        shutil.copytree(good.directory, self.root / good.id)
        self.names: dict[str, str] = {}  # by run id: what is odd

    def add(self, what: str) -> Run:
        """Return another copy, as a run of its own."""
        run = Run(self.root, f"custom-{len(self.names):012x}")
        shutil.copytree(self.source.directory, run.directory)
        self.names[run.id] = what
        self.sign(run)
        return run

    def sign(self, run: Run, **changes: Any) -> None:
        """Publish a run again, as a stranger can, with some fields of its result changed."""
        result = read_checksummed_json(self.source.result_file) | changes
        run.publish({name: value for name, value in result.items() if name not in ("id", "files")})

    def call(self, *arguments: str) -> str:
        """Run a command in this process: it ends in time, without a traceback, and prints nothing that is harmful."""
        with time_limit(60):
            result = CliRunner().invoke(app, arguments)
        about = f"crackdet {' '.join(arguments)}: {result.output[-2000:]}"
        assert result.exception is None or isinstance(result.exception, SystemExit), about
        assert result.exit_code in (0, 1, 2) and "Traceback" not in result.output, about
        assert_harmless(result.output)
        return result.output


def assert_harmless(text: str) -> None:
    assert not {"\x1b", "\x07", "\u202e"} & set(text) and SECRET not in text and "root:x:0" not in text


@contextmanager
def time_limit(seconds: int) -> Iterator[None]:
    def stop(_signum: int, _frame: FrameType | None) -> None:
        raise AssertionError(f"hangs: more than {seconds} s")

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


@pytest.fixture
def hostile(runs: list[Run], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Hostile:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MY_SECRET", SECRET)
    return Hostile(tmp_path, *runs)


def look_at_everything(hostile: Hostile) -> None:
    """Run every command that looks at a store as a whole."""
    store = str(hostile.root)
    for listing in (
        hostile.call("runs", "--store", store),
        hostile.call("summary", store, "--write", ".", "--top", "0"),
    ):
        lines = listing.replace("\n", " ")
        missing = [what for run_id, what in hostile.names.items() if run_id not in lines]
        assert hostile.good.id in lines and not missing
    hostile.call("summary", store, "--by", "f1", "--sort", "seed", "--filter", "accuracy>0", "--recall", "0.9")
    hostile.call("report", store, "--to", "report.html")
    hostile.call("watch", "--once", store)
    hostile.call("clean", "--store", store)
    for name in ("summary.csv", "summary.json", "report.html"):
        assert_harmless((hostile.folder / name).read_text())
    with (hostile.folder / "summary.csv").open(newline="") as file:
        assert not [cell for row in csv.reader(file) for cell in row if cell.startswith(("=", "@"))]


def use(hostile: Hostile, run_id: str, *words: str) -> None:
    """Run commands that use a run."""
    Image.new("RGB", (64, 64)).save("photograph.png")
    commands: dict[str, tuple[str, ...]] = {
        "show": (), "evaluate": (), "predict": ("photograph.png",),
        "scan": ("photograph.png", "--tile", "32", "--force"), "pointing": ("--images", "2"),
        "export": ("--to", f"export-{run_id}"), "inspect": ("--top", "1"), "rm": ("--yes",),
    }  # fmt: skip
    for word in words or commands:
        hostile.call(word, run_id, *commands[word], "--store", str(hostile.root))


def test_every_field_that_a_run_publishes_has_a_range(runs: list[Run]) -> None:
    fields = {name for run in runs for name in read_checksummed_json(run.result_file)}
    assert fields <= REQUIRED.keys() | OPTIONAL.keys()


def test_files_that_are_no_files_or_hold_no_data_cost_one_line_each(hostile: Hostile) -> None:
    for number, name in enumerate((*FILES, ".resume.pt.1.tmp")):
        for index, (what, change) in enumerate(CHANGES.items()):
            is_finished = (number + index) % 2 == 0
            run = hostile.add(f"{name}: {what}, {'' if is_finished else 'un'}finished")
            if not is_finished:
                run.result_file.unlink()
            (run.directory / name).unlink(missing_ok=True)
            change(run.directory / name)
    look_at_everything(hostile)
    for run_id in random.Random(0).sample(sorted(hostile.names), 6):
        use(hostile, run_id, "show", "evaluate", "rm")
        assert not (hostile.root / run_id).exists()


def test_fields_of_another_type_or_range_cost_one_line_each(hostile: Hostile) -> None:
    result = read_checksummed_json(hostile.source.result_file)
    fields: list[tuple[str, ...]] = [(name,) for name in result]
    fields += [(name, key) for name in ("settings",) for key in result[name]]
    fields += [("settings", group, key) for group in ("model", "optimizer") for key in result["settings"][group]]
    for number, field in enumerate(fields):
        for index, (what, value) in enumerate(VALUES.items()):
            if (number + index) % 11 == 0:  # each field with two of the values
                changed = with_value(result, field, value)
                run = hostile.add(f"result.json: {'.'.join(field)}: {what}")
                changed["id"] = changed["id"] if field == ("id",) else run.id
                write_checksummed_json(run.result_file, changed)
    look_at_everything(hostile)


def test_other_files_with_odd_fields_cost_one_line_each(hostile: Hostile) -> None:
    weights = weights_digest(hostile.source)
    scores = {"pointing": 0.5, "overlap": 0.5}
    contents: dict[str, dict[str, Any]] = {
        "failure.json": {"kind": "error", "reason": "x", "attempts": 1, "traceback": "x", "time": "y"},
        "pointing.json": {"weights": weights, "grad_cam": scores, "chance": scores, "blank": 0.1, "cracks": 5},
        "test.json": {"accuracy": 0.5, "images": 4, "digest": weights, "photographs": None},
    }
    for name in ("identity.json", "provenance.json", *contents):
        tree = contents.get(name) or json.loads((hostile.source.directory / name).read_text())
        for field in fields_of(tree):
            for what, value in random.Random(str(field)).sample(sorted(VALUES.items()), 2):
                run = hostile.add(f"{name}: {'.'.join(field)}: {what}")
                changed = with_value(tree, field, value)
                if name == "test.json":
                    write_checksummed_json(run.directory / name, changed)
                else:
                    (run.directory / name).write_text(json.dumps(changed))
                hostile.sign(run)
                if name == "failure.json":
                    run.failure_file.write_text(json.dumps(changed))
                    run.result_file.unlink()
    look_at_everything(hostile)


def test_odd_tables_cost_one_line_each(hostile: Hostile) -> None:
    for name in ("history.csv", "predictions.csv"):
        header, *rows = [line.split(",") for line in (hostile.source.directory / name).read_text().splitlines()]
        for column in range(len(header)):
            for what in CELLS[column % 2 :: 2]:
                run = hostile.add(f"{name}: {header[column]}: {what[:9]}")
                changed = [*rows[0][:column], what, *rows[0][column + 1 :]]
                lines = [header, changed, *rows[1:]]
                (run.directory / name).write_text("".join(",".join(line) + "\n" for line in lines))
                hostile.sign(run)
        for what, text in {"columns": ",a" * 10**6, "a name": "\x1b", "no name": ""}.items():
            run = hostile.add(f"{name}: {what}")
            (run.directory / name).write_text(f"{text}\n1\n")
            hostile.sign(run)
    look_at_everything(hostile)


def test_a_run_with_an_odd_configuration_is_used_or_refused(hostile: Hostile) -> None:
    tree = yaml.safe_load(hostile.source.config_file.read_text())
    groups = ("model", "data", "optimizer", "trainer")
    fields = [field for field in fields_of(tree) if field[0] in groups or len(field) == 1]
    chosen = random.Random(5).sample([(field, what) for field in fields for what in VALUES], 24)
    chosen += [(("data", "root"), "an interpolation"), (("runtime", "cache"), "a home")]
    for field, what in chosen:
        run = hostile.add(f"config.yaml: {'.'.join(field)}: {what}")
        try:
            text = yaml.safe_dump(with_value(tree, field, VALUES[what]))
        except ValueError:  # YAML refuses to write 4,000 digits
            continue
        run.config_file.write_text(text.replace("\\uD800", "\\x1b"))
        hostile.sign(run)
    look_at_everything(hostile)
    for run_id in hostile.names:
        use(hostile, run_id, "evaluate")
    for run_id in sorted(hostile.names)[:1]:
        use(hostile, run_id)


def test_weights_that_do_not_fit_or_are_none_are_refused(hostile: Hostile) -> None:
    for what, data in {"noise": b"x" * 999, "a huge header": b"\xff" * 8, "an empty header": bytes(8)}.items():
        run = hostile.add(f"weights: {what}")
        run.weights_file.write_bytes(data)
        hostile.sign(run)
        use(hostile, run.id)
    with pytest.raises(UserError):
        crackdet.load_run("custom-00000000", hostile.root)
    assert len(crackdet.load_runs(hostile.root)) == 1


@pytest.mark.parametrize(
    "line",
    [
        "", "[]", "{", '{"id": 3, "store": "runs", "overrides": []}',
        '{"id": "../x", "store": "runs", "overrides": []}',
        '{"id": "custom-000000000000", "store": "a\\u0000b", "overrides": []}', "[" * 10**5, "\x1b[31m",
        '{"id": "custom-000000000000", "store": "runs", "overrides": [1]}', "x" * 10**6,
        '{"id": "custom-000000000000", "store": 5, "overrides": "x"}',
    ],
    ids=lambda line: line[:30],
)  # fmt: skip
def test_an_odd_line_of_a_sweep_hides_no_other(hostile: Hostile, line: str) -> None:
    sweep = hostile.folder / "sweep"
    SweepRecord(sweep).add(Run(hostile.root, hostile.good.id), ["seed=0"])
    with (sweep / RECORD).open("a") as file:
        file.write(line + "\n")
    (sweep / "search.json").write_text('{"trials": {"complete": "x"}, "objectives": 3}')
    assert hostile.good.id in hostile.call("summary", str(sweep))
    hostile.call("watch", "--once", str(sweep))


def test_training_on_top_of_odd_files_replaces_them_and_touches_nothing_outside(
    hostile: Hostile, runs: list[Run], cache: Path
) -> None:
    outside = hostile.folder / "precious"
    overrides = [*TINY, f"runtime.store={hostile.root}", f"runtime.cache={cache}", "runtime.device=cpu"]
    job = job_of(compose([*overrides, "trainer.max_epochs=1", "seed=7"]))
    outside.write_text("keep me")
    job.run.directory.mkdir()
    for change in (os.mkfifo, link_to(str(outside)), content(b"noise")):
        for name in (*PUBLISHED, "resume.pt", "failure.json", "attempt", "result.json", ".x.1.tmp"):
            (job.run.directory / name).unlink(missing_ok=True)
            change(job.run.directory / name)
        with time_limit(60):
            assert execute(job) is not None
        assert outside.read_text() == "keep me" and job.is_finished()
    job.run.lock_file.unlink()
    job.run.lock_file.symlink_to(outside)
    with pytest.raises(UserError), job.run.claim():
        pass
    (hostile.folder / RECORD).symlink_to(outside)
    with pytest.raises(UserError):
        SweepRecord(hostile.folder).add(job.run, [])
    assert outside.read_text() == "keep me"


def test_a_folder_in_the_place_of_a_file_is_named_before_training(hostile: Hostile, cache: Path) -> None:
    overrides = [*TINY, f"runtime.store={hostile.root}", f"runtime.cache={cache}", "runtime.device=cpu", "seed=8"]
    job = job_of(compose(overrides))
    job.run.result_file.mkdir(parents=True)
    with pytest.raises(UserError, match=r"result\.json: is a folder.*crackdet rm"):
        execute(job)


def test_clean_says_why_a_file_was_not_deleted_and_exits_with_1(hostile: Hostile) -> None:
    run = hostile.add("its lock is a folder")
    run.lock_file.unlink(missing_ok=True)
    run.lock_file.mkdir()
    run.state_file.write_bytes(b"state")
    result = CliRunner().invoke(app, ["clean", "--yes", "--store", str(hostile.root)])
    assert result.exit_code == 1 and run.state_file.exists()
    assert "deleted 1 of 2 files" in result.output and "is a link or a folder, not a lock" in result.output


@pytest.mark.skipif(os.geteuid() == 0, reason="needs a user other than root")
def test_a_run_that_may_not_be_read_costs_one_line(hostile: Hostile) -> None:
    run = hostile.add("unreadable")
    run.directory.chmod(0)
    try:
        assert "cannot be read" in (run.snapshot().corruption or "")
        with pytest.raises(UserError, match=r"cannot be read.*make it readable"):
            run.is_finished("0" * 64)
        assert hostile.good.id in hostile.call("summary", str(hostile.root))
    finally:
        run.directory.chmod(0o755)


def fields_of(tree: Mapping[str, Any], prefix: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    found = []
    for key, value in tree.items():
        found.append((*prefix, key))
        if isinstance(value, dict):
            found += fields_of(value, (*prefix, key))
    return found


def with_value(tree: Mapping[str, Any], field: tuple[str, ...], value: Any) -> dict[str, Any]:
    changed: Any = copy.deepcopy(dict(tree))
    node = changed
    for key in field[:-1]:
        node = node[key]
    node[field[-1]] = value
    return dict(changed)
