"""The runs of a store or of a sweep, ranked."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from crackdet.analysis.latency import pool_latencies
from crackdet.analysis.licenses import with_license
from crackdet.analysis.rows import RunRow
from crackdet.core.errors import UserError
from crackdet.core.machine import gc_disabled
from crackdet.store.index import read_snapshots
from crackdet.store.run_folder import RunFolder
from crackdet.store.snapshot import RunSnapshot
from crackdet.store.sweep_record import find_sweeps

if TYPE_CHECKING:
    import pandas

    from crackdet.analysis.decision import Decision
    from crackdet.analysis.tables import View

METRICS = ("accuracy", "f1", "recall", "precision", "roc_auc")  # that rank runs: larger is better


@dataclass(frozen=True, repr=False)
class Summary(Sequence[RunRow]):
    """The runs of a store or a sweep: the finished ones by rank, then the others.

    Runs are ranked only against runs with the same validation images.
    """

    store: Path
    rankings: Sequence[Sequence[RunRow]]  # one for each set of validation images, the largest set first
    unranked: Sequence[RunRow]
    metric: str = "accuracy"
    note: str = ""  # says which runs are left out

    @cached_property
    def all_runs(self) -> list[RunRow]:
        return [*(row for ranking in self.rankings for row in ranking), *self.unranked]

    @property
    def best(self) -> RunRow | None:
        """The run that leads the first ranking."""
        return self.rankings[0][0] if self.rankings else None

    @cached_property
    def decisions(self) -> list["Decision"]:
        """The decision of each ranking."""
        from crackdet.analysis.decision import decide

        return [decide(ranking, self.metric) for ranking in self.rankings]

    @property
    def decision(self) -> "Decision | None":
        """The decision of the first ranking; None if there is none."""
        return self.decisions[0] if self.rankings else None

    def __len__(self) -> int:
        return len(self.all_runs)

    def __getitem__(self, index: Any) -> Any:
        return self.all_runs[index]

    def __repr__(self) -> str:
        return f"<Summary of {len(self)} runs in {self.store}>"

    def __str__(self) -> str:
        """The tables and the decisions, as `show` prints them."""
        from crackdet.analysis.rendering import as_text

        return as_text(self)

    def _repr_html_(self) -> str:
        """The tables and the decisions in a notebook."""
        from crackdet.analysis.rendering import as_html

        return as_html(self)

    def show(self, view: "View | None" = None) -> None:
        """Print the table, the decision, and the runs that did not finish.

        Raises:
            UserError: If the view names a key that no run has.
        """
        from crackdet.analysis.tables import show

        show(self, view)

    def rows(self) -> list[dict[str, Any]]:
        """Return a dict for each run, as in `summary.json`."""
        from crackdet.analysis.export import rows

        return rows(self)

    def content(self) -> dict[str, Any]:
        """Return the summary as `summary.json` holds it, with the store relative to the working directory."""
        from crackdet.analysis.export import content

        return content(self, Path())

    def to_pandas(self) -> "pandas.DataFrame":
        """Return the rows and the settings in which the runs differ as a DataFrame.

        Raises:
            UserError: If pandas is not installed.
        """
        from crackdet.analysis.export import to_pandas

        return to_pandas(self)

    def write(self, directory: Path) -> None:
        """Write `summary.json` and `summary.csv`."""
        from crackdet.analysis.export import write

        write(self, directory)


def summarize(path: Path, metric: str = "accuracy", licenses: Sequence[str] = ()) -> Summary:
    """Rank the runs of a run store or of a sweep's folder by one of `METRICS`.

    Args:
        licenses: That the initial weights may have, as `crackdet.core.licenses.is_permitted` reads them; empty: any.

    Raises:
        UserError: If there is no such folder or metric, or the folder holds no runs.
    """
    if metric not in METRICS:
        raise UserError(f"--by {metric}: must be one of {', '.join(METRICS)}")
    folder = RunFolder.open(path)
    with gc_disabled():
        snapshots = _pooled(read_snapshots(folder.runs()))
        rows = [RunRow(snapshot, folder.overrides.get(snapshot.id)) for snapshot in snapshots]
    if not rows and any(not item.name.startswith(".") for item in path.iterdir()):
        sweeps = find_sweeps(path)
        newest = f", such as {max(sweeps)}" if sweeps else ""
        raise UserError(f"{path}: holds no runs; give a run store or a sweep's folder{newest}")
    rows, note = with_license(rows, licenses)
    unranked = [row for row in rows if not row.is_comparable(metric)]
    return Summary(folder.store.root, rank(rows, metric), unranked, metric, note)


def _pooled(snapshots: Sequence[RunSnapshot]) -> list[RunSnapshot]:
    """Return the snapshots with the latency that the runs of one network have in common."""
    results = pool_latencies([snapshot.result or {} for snapshot in snapshots])
    return [
        snapshot if snapshot.result is None or snapshot.result is result else replace(snapshot, result=result)
        for snapshot, result in zip(snapshots, results, strict=True)
    ]


def rank(rows: Iterable[RunRow], metric: str = "accuracy") -> list[list[RunRow]]:
    """Rank the finished runs within each set of validation images; the largest set comes first."""
    finished: dict[tuple[str, int, bool], list[RunRow]] = defaultdict(list)
    for row in rows:
        if row.is_comparable(metric):
            result = row.result
            finished[result["valid_digest"], result["valid_images"], result.get("right") is None].append(row)
    rankings = sorted(
        finished.values(), key=lambda ranking: (ranking[0].result["valid_images"], len(ranking)), reverse=True
    )
    for ranking in rankings:
        ranking.sort(key=lambda row: sort_key(row, metric))
    return rankings


def sort_key(row: RunRow, metric: str = "accuracy") -> tuple[float, float, float, str]:
    """Sort by falling metric; ties by the FLOPs of the feature extractor, then by the loss."""
    return (-row.value(metric), row.result.get("feature_flops") or 0, float(row.result["loss"]), row.id)
