"""All checks of a data set, and the page, the tables and the JSON that tell their results."""

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path
from typing import Any

from markupsafe import Markup

from crackdet.config.schema import Config
from crackdet.core.files import write_csv, write_json, write_text
from crackdet.core.templates import page_environment
from crackdet.data.counts import count_splits
from crackdet.data.dataset import ImageDataset
from crackdet.data.records import ImageRecord
from crackdet.data.tiles import parse_name
from crackdet.doctor.copies import find_copies
from crackdet.doctor.copies_section import copies_section, copies_sentences
from crackdet.doctor.descriptor import describe_batch
from crackdet.doctor.examination import Examination, examine
from crackdet.doctor.examination_sections import (
    confounds_section,
    drift_section,
    examination_sentences,
    labels_section,
    sizes_section,
)
from crackdet.doctor.features import network_descriptor
from crackdet.doctor.grouping import CopyReport, group_names, pair_rows, report_copies
from crackdet.doctor.labels import write_relabel_csv
from crackdet.doctor.photographs import Photograph, photographs_of
from crackdet.doctor.section import PageTable, Section
from crackdet.inference.loaded_run import LoadedRun
from crackdet.store.run import Run

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
    examination: Examination

    @property
    def leaks(self) -> bool:
        """Whether a validation or test photograph shows a place of a training photograph."""
        return bool(self.copies.leaked)

    @property
    def sentences(self) -> list[str]:
        """The results in words, for the terminal."""
        return [*copies_sentences(self.photographs, self.copies), *examination_sentences(self.examination)]

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
            **asdict(self.examination),
            "labels": self._labels(),
        }

    def _labels(self) -> dict[str, Any] | None:
        labels = self.examination.labels
        return None if labels is None else asdict(labels) | {"verdict": labels.verdict, "reliable": labels.is_reliable}


def check_images(
    config: Config, splits: Mapping[str, ImageDataset], fingerprint: str, problems: Sequence[str], backbone: Run | None
) -> DataCheck:
    """Run all checks on the images of a data set.

    Args:
        splits: Its images by split, see `load_splits`.
        fingerprint: See `data_fingerprint`.
        problems: See `find_all_problems`.
        backbone: A finished run whose network describes the images to the probe; None: a descriptor without weights.
    """
    photographs = photographs_of(splits)
    pairs = find_copies(photographs)
    descriptor = describe_batch if backbone is None else network_descriptor(LoadedRun(backbone).model())
    groups = group_names(photographs, pairs)
    by_image = {
        record.name: groups[parse_name(record.name)[0]] for images in splits.values() for record in images.records
    }
    examination = examine(splits, config.data, by_image, descriptor, config.runtime.num_workers)
    name = str(getattr(config.data, "root", config.data.name))
    return DataCheck(name, splits, fingerprint, problems, photographs, report_copies(photographs, pairs), examination)


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
    labels, relabel = check.examination.labels, None
    if labels is not None and labels.suspects and check.photographs[0].file and not _has_tiles(check):
        relabel = f"python train.py data=table data.root={shlex.quote(check.name)} data.table=$PWD/{folder / RELABEL}"
        records = [record for images in check.splits.values() for record in images.records]
        write_relabel_csv(folder / RELABEL, records, labels.suspects)
    write_text(folder / PAGE, _render(check, command, relabel))


def _has_tiles(check: DataCheck) -> bool:
    """Return whether the images are tiles, which no table can name."""
    return any(parse_name(record.name)[1] is not None for record in check.splits["train"].records)


def _render(check: DataCheck, command: str | None, relabel: str | None) -> str:
    found = check.examination
    sections = [
        _overview(check),
        copies_section(check.photographs, check.copies, command),
        labels_section(found.labels, check.splits, relabel),
        confounds_section(found.confounds),
        drift_section(found.drift),
        sizes_section(found.sizes),
    ]
    verdict = (
        "A split leaks: validation or test photographs show what training photographs show, so their scores will be "
        "too high."
        if check.leaks
        else "No validation or test photograph shows what a training photograph shows."
    )
    style = (files("crackdet.report") / "page" / "report.css").read_text()
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
