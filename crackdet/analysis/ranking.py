"""A run store, or the runs of one sweep, as something to decide from."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from crackdet.analysis.rows import RunRow
from crackdet.core.errors import UserError
from crackdet.core.garbage_collector import gc_disabled
from crackdet.store.index import read_snapshots
from crackdet.store.run import Run
from crackdet.store.run_store import RunStore
from crackdet.store.snapshot import Status
from crackdet.store.sweep_record import RECORD, SweepRecord

if TYPE_CHECKING:
    import pandas

    from crackdet.analysis.decision import Decision
    from crackdet.analysis.tables import View

METRICS = ("accuracy", "f1", "recall", "precision", "roc_auc")  # what runs can be ranked by: the larger, the better


@dataclass(frozen=True)
class Summary(Sequence[RunRow]):
    """Runs, the best first; within each set of validation images, since others cannot be compared."""

    store: Path
    rankings: Sequence[Sequence[RunRow]]  # finished runs by falling accuracy, one ranking a validation set
    unranked: Sequence[RunRow]
    metric: str = "accuracy"  # that the runs are ranked by

    @cached_property
    def entries(self) -> list[RunRow]:
        return [*(entry for ranking in self.rankings for entry in ranking), *self.unranked]

    @property
    def best(self) -> RunRow | None:
        """The max-accuracy run; of several sets of validation images, on the largest."""
        return self.rankings[0][0] if self.rankings else None

    @cached_property
    def decisions(self) -> list["Decision | None"]:
        """For each ranking, what follows from it; None where its results are too old to tell."""
        from crackdet.analysis.decision import decide

        return [decide(ranking, self.metric) for ranking in self.rankings]

    @property
    def decision(self) -> "Decision | None":
        """That of the ranking which `best` leads."""
        return self.decisions[0] if self.rankings else None

    def __len__(self) -> int:
        return len(self.entries)

    def __getitem__(self, index: Any) -> Any:
        return self.entries[index]

    def __iter__(self) -> Iterator[RunRow]:
        return iter(self.entries)

    def show(self, view: "View | None" = None) -> None:
        """Prints the table, the decision, and what did not finish.

        Raises:
            UserError: where the view names what no run has.
        """
        from crackdet.analysis.tables import show

        show(self, view)

    def rows(self) -> list[dict[str, Any]]:
        """A plain row for each run, as in `summary.json`."""
        from crackdet.analysis.export import rows

        return rows(self)

    def to_pandas(self) -> "pandas.DataFrame":
        """The same as a DataFrame, with the settings in which runs differ.

        Raises:
            UserError: where pandas is not installed.
        """
        from crackdet.analysis.export import to_pandas

        return to_pandas(self)

    def write(self, directory: Path) -> None:
        """Writes `summary.json` and `summary.csv`."""
        from crackdet.analysis.export import write

        write(self, directory)


def resolve_run(text: str, store: RunStore) -> Run:
    """The run that a user means: by its id or the beginning of it, `best`, or `best:FOLDER` of a sweep.

    Raises:
        UserError: where none or several are meant.
    """
    word, _, folder = text.partition(":")
    if word != "best":
        return store.find(text)
    rankings = summarize(Path(folder) if folder else store.root).rankings
    if not rankings:
        raise UserError(f"{text}: no run in {folder or store.root} is finished")
    if len(rankings) > 1:
        bests = ", ".join(f"{ranking[0].id} ({ranking[0].result.get('valid_images')} images)" for ranking in rankings)
        other = "" if folder else ", or best:FOLDER of a sweep on one set of images"
        raise UserError(f"{text}: runs on different validation images cannot be compared; say which of {bests}{other}")
    return rankings[0][0].run


def summarize(path: Path, metric: str = "accuracy") -> Summary:
    """The runs of a sweep's folder or of a run store, ranked by a metric of `METRICS`.

    Raises:
        UserError: where there is no such folder, it holds other things than runs, or there is no such metric.
    """
    if metric not in METRICS:
        raise UserError(f"{metric}: runs are ranked by one of {', '.join(METRICS)}")
    record = SweepRecord(path)
    overrides = record.runs()
    if not overrides and not path.is_dir():
        raise UserError(f"{path}: there is no such run store or sweep folder")
    store = RunStore((record.store() or path) if overrides else path)
    store.check_version()
    with gc_disabled():
        runs = [store.run(run_id) for run_id in overrides] if overrides else list(store.runs())
        entries = [RunRow(snapshot, overrides.get(snapshot.id)) for snapshot in read_snapshots(runs)]
    if not entries and any(not item.name.startswith(".") for item in path.iterdir()):
        sweeps = [record.parent for depth in ("*", "*/*") for record in path.glob(f"{depth}/{RECORD}")]
        newest = f", such as {max(sweeps)}" if sweeps else ""
        raise UserError(f"{path}: holds no runs; give a run store, or the folder of a sweep{newest}")
    unranked = [entry for entry in entries if entry.status is not Status.FINISHED]
    return Summary(store.root, rank(entries, metric), unranked, metric)


def rank(rows: Iterable[RunRow], metric: str = "accuracy") -> list[list[RunRow]]:
    """Rank the finished runs, the best first, within each set of validation images; the largest set comes first."""
    finished: dict[str, list[RunRow]] = defaultdict(list)
    for row in rows:
        if row.status is Status.FINISHED:
            finished[str(row.result.get("valid_digest"))].append(row)
    rankings = sorted(
        finished.values(), key=lambda ranking: (ranking[0].result.get("valid_images", 0), len(ranking)), reverse=True
    )
    for ranking in rankings:
        ranking.sort(key=lambda row: sort_key(row, metric))
    return rankings


def sort_key(entry: RunRow, metric: str = "accuracy") -> tuple[float, float, float, str]:
    """Falling accuracy, or another metric; a tie goes to the cheaper feature extractor, then to the smaller loss."""
    return (-entry.value(metric), entry.result.get("feature_flops") or 0, float(entry.result["loss"]), entry.id)
