"""All checks of a data set, and the page, the tables and the JSON that tell their results."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from markupsafe import Markup

from crackdet.core.files import write_csv, write_json, write_text
from crackdet.core.templates import page_environment
from crackdet.data.counts import count_splits
from crackdet.data.dataset import ImageDataset
from crackdet.data.records import ImageRecord
from crackdet.doctor.copies import find_copies
from crackdet.doctor.copies_section import copies_section, copies_sentences
from crackdet.doctor.grouping import CopyReport, pair_rows, report_copies
from crackdet.doctor.photographs import Photograph, photographs_of
from crackdet.doctor.section import PageTable, Section

PAGE, COPIES, RELABEL, JSON = "index.html", "copies.csv", "relabel.csv", "check.json"


@dataclass(frozen=True)
class DataCheck:
    """What the checks have found."""

    name: str  # of the data set
    splits: Mapping[str, ImageDataset]
    fingerprint: str
    problems: Sequence[str]
    photographs: Sequence[Photograph]
    copies: CopyReport

    @property
    def leaks(self) -> bool:
        """Whether a validation or test photograph shows a place of a training photograph."""
        return bool(self.copies.leaked)

    @property
    def sentences(self) -> list[str]:
        """The results in words, for the terminal."""
        return copies_sentences(self.photographs, self.copies)

    def to_dict(self) -> dict[str, Any]:
        """Return the results as JSON values."""
        copies = self.copies
        return {
            "splits": count_splits(_records(self.splits)),
            "fingerprint": self.fingerprint,
            "problems": list(self.problems),
            "leaks": self.leaks,
            "copies": {
                "pairs": len(copies.pairs),
                "groups": [[self.photographs[index].name for index in group] for group in copies.groups],
                "leaked": copies.leaked,
                "joined_groups": copies.joined_groups,
                "contradictory": pair_rows(self.photographs, copies.contradictory),
            },
        }


def check_images(name: str, splits: Mapping[str, ImageDataset], fingerprint: str, problems: Sequence[str]) -> DataCheck:
    """Run all checks on the images of a data set.

    Args:
        name: The data set, for the title of the page.
        splits: Its images by split, see `load_splits`.
        fingerprint: See `data_fingerprint`.
        problems: See `find_all_problems`.
    """
    photographs = photographs_of(splits)
    copies = report_copies(photographs, find_copies(photographs))
    return DataCheck(name, splits, fingerprint, problems, photographs, copies)


def write_check(check: DataCheck, folder: Path, command: str | None) -> None:
    """Write the page, the tables and the JSON of a check into a folder.

    Args:
        command: The command lines that write the groups of copies and train with them.

    Raises:
        WriteFailed: If a file cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / JSON, check.to_dict())
    if check.copies.pairs:
        write_csv(folder / COPIES, pair_rows(check.photographs, check.copies.pairs))
    write_text(folder / PAGE, _render(check, command))


def _render(check: DataCheck, command: str | None) -> str:
    sections = [_overview(check), copies_section(check.photographs, check.copies, command)]
    verdict = (
        "A split leaks: validation or test photographs show what training photographs show, so their scores will be "
        "too high."
        if check.leaks
        else "No validation or test photograph shows what a training photograph shows."
    )
    style = page_environment("crackdet.report", "page").loader.get_source(  # type: ignore[union-attr]
        page_environment("crackdet.report", "page"), "report.css"
    )[0]
    images = sum(map(len, check.splits.values()))
    return (
        page_environment("crackdet.doctor")
        .get_template("page.html")
        .render(
            title=check.name,
            version=version("crackdet"),
            written=datetime.now().astimezone().strftime("%-d %B %Y, %H:%M"),
            counts=f"{images:,} images of {len(check.photographs):,} photographs, fingerprint {check.fingerprint[:12]}",
            style=Markup(style),
            verdict=verdict,
            leaks=check.leaks,
            sections=sections,
        )
    )


def _overview(check: DataCheck) -> Section:
    counts = count_splits(_records(check.splits))
    columns = ["split", *(name.replace("_", " ") for name in next(iter(counts.values())))]
    table = PageTable("Images of each split", columns, [[name, *row.values()] for name, row in counts.items()])
    return Section("images", "Images", [], check.problems, [table])


def _records(splits: Mapping[str, ImageDataset]) -> dict[str, Sequence[ImageRecord]]:
    return {name: dataset.records for name, dataset in splits.items()}
