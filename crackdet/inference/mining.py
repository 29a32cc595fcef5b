"""Scores of tiles without a crack by a finished run, for `data.hard_negatives`."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from crackdet.config.file_data import TiledData
from crackdet.core.errors import UserError
from crackdet.core.files import expand_home, write_csv
from crackdet.data.cache import decode_all
from crackdet.data.records import ImageRecord
from crackdet.data.sources.factory import open_source
from crackdet.data.splits import assign_splits
from crackdet.inference.eval_data import config_with_data
from crackdet.inference.loaded_run import LoadedRun

BATCH = 256  # images read at once


@dataclass(frozen=True)
class MinedNegatives:
    """The tiles without a crack of the training photographs, the most crack-like first."""

    records: Sequence[ImageRecord]
    logits: Sequence[float]

    @property
    def num_false_alarms(self) -> int:
        """The number of tiles that the run calls cracks."""
        return sum(logit > 0 for logit in self.logits)


def mine(loaded: LoadedRun, overrides: Sequence[str], device: str = "auto") -> MinedNegatives:
    """Score all tiles without a crack of a run's training photographs, and write them to its `negatives.csv`.

    Raises:
        UserError: If the data has no tiles, or is not available, or the run has no weights.
        WriteFailed: If the file cannot be written.
    """
    config = config_with_data(loaded.run, overrides)
    if not isinstance(config.data, TiledData):
        raise UserError(f"data={config.data.name}: has no tiles; hard negatives need data=masks or data=boxes")
    source = open_source(config.data, expand_home(config.runtime.cache))
    train = assign_splits(source.list_records(), config.data)["train"]
    records = [record for record in train if not record.crack]
    if not records:
        raise UserError("data: the training photographs have no tile without a crack")
    decoded = decode_all(source, records, config.data.image_size, config.runtime)
    records = [record for record in records if record.digest not in decoded.unreadable]
    batches = (
        np.stack([decoded.read(record) for record in records[start : start + BATCH]])
        for start in range(0, len(records), BATCH)
    )
    logits = loaded.predictor(device).logits(batches).tolist()
    order = sorted(range(len(records)), key=lambda index: -logits[index])
    mined = MinedNegatives([records[index] for index in order], [logits[index] for index in order])
    rows = [
        {"digest": record.digest, "logit": repr(logit), "name": record.name}
        for record, logit in zip(mined.records, mined.logits, strict=True)
    ]
    write_csv(loaded.run.negatives_file, rows)
    return mined
