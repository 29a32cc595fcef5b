"""The parts of the page about sizes, labels, confounds and drift."""

from collections.abc import Mapping, Sequence

from crackdet.data.dataset import ImageDataset
from crackdet.data.decode import BadImage
from crackdet.data.records import ImageRecord
from crackdet.data.sources.base import Source
from crackdet.doctor.confounds import Confound
from crackdet.doctor.drift import Drift
from crackdet.doctor.examination import Examination
from crackdet.doctor.labels import SuspectLabels
from crackdet.doctor.section import QUALITY, SIDE, Cell, PageTable, Picture, Section, blank
from crackdet.doctor.separation import Separation
from crackdet.doctor.sizes import Sizes
from crackdet.report.formatting import percent
from crackdet.report.thumbnails import read_thumbnail

MAX_SUSPECTS, MAX_COLUMNS = 48, 8


def examination_sentences(found: Examination) -> list[str]:
    """Return the findings in words, for the terminal."""
    labels = [found.labels.verdict] if found.labels is not None else []
    return [*found.sizes.warnings, *labels, *(c.verdict for c in found.confounds), *(d.verdict for d in found.drift)]


def sizes_section(sizes: Sizes) -> Section:
    rows: list[list[Cell]] = []
    for one in sizes.splits:
        common = ", ".join(f"{width}x{height} ({number:,})" for width, height, number in one.common)
        rows.append([one.split, common or "rendered", one.enlarged, one.elongated, percent(one.margin, 1)])
    columns = ("split", "most frequent sizes", "enlarged", "elongated", "95 % interval of an accuracy of 95 %: ±")
    return Section("sizes", "Sizes", [], sizes.warnings, [PageTable("Sizes in pixels", columns, rows)])


def labels_section(labels: SuspectLabels | None, splits: Mapping[str, ImageDataset], relabel: str | None) -> Section:
    """Return the section about suspect labels.

    Args:
        relabel: The command that trains with the table in which labels can be corrected; None if there is no table.
    """
    title = "Suspect labels"
    if labels is None:
        return Section(
            "labels", title, ["Fewer than two groups have an image of each class, so no probe can be tested."]
        )
    records = {record.name: (record, images.pixels.source) for images in splits.values() for record in images.records}
    pictures = []
    for suspect in labels.suspects[:MAX_SUSPECTS]:
        uris, alts = _thumbnails(*records[suspect.name])
        lines = [
            f"labelled {suspect.label}",
            f"probability of this label {percent(suspect.probability, 1)}",
            suspect.name,
        ]
        pictures.append(Picture(uris, alts, lines))
    notes = []
    if relabel is not None:
        notes.append(
            "relabel.csv, beside this page, lists all images, suspects first. Write `crack` or `no crack` into the "
            "column corrected_label of images whose label is wrong, and train with this command:"
        )
    return Section("labels", title, [labels.verdict], notes, [], pictures, relabel)


def confounds_section(found: Sequence[Confound]) -> Section:
    tables = [_columns_table(f"ROC-AUC of each column alone: {c.kind}", c.separation) for c in found if c.separation]
    rules = [f"{c.kind}: {rule}" for c in found for rule in c.rules]
    return Section("confounds", "Confounds", [c.verdict for c in found], rules, [t for t in tables if t.rows])


def drift_section(drift: Sequence[Drift]) -> Section:
    tables = [
        PageTable(
            f"Columns of {one.split} that differ most from train",
            ("column", "difference", "p", "train", one.split),
            [[d.column, round(d.statistic, 3), round(d.p_value, 3), d.train, d.other] for d in one.differences],
        )
        for one in drift
    ]
    return Section("drift", "Drift", [one.verdict for one in drift], [], [t for t in tables if t.rows])


def _columns_table(caption: str, separation: Separation) -> PageTable:
    rows: list[list[Cell]] = [[column.column, round(column.auc, 3)] for column in separation.columns[:MAX_COLUMNS]]
    return PageTable(caption, ("column", "ROC-AUC"), rows)


def _thumbnails(record: ImageRecord, source: Source) -> tuple[list[str], list[str]]:
    """Return an image, and its photograph if it is a tile, as `data:` URIs with a text for each."""
    try:
        uri, context = read_thumbnail(source, record, SIDE, QUALITY)
    except BadImage:
        return [blank()], [record.name]
    return ([uri], [record.name]) if context is None else ([uri, context], [record.name, "The tile in its photograph"])
