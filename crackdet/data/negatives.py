"""The choice of tiles without a crack: a number for each tile with one, at random or those that a run confuses.

Hard negatives (Shrivastava et al., "Training region-based object detectors with online hard example mining", CVPR
2016, section 3) are taken for training only: validation images must not depend on the mistakes of a network.
"""

import csv
import hashlib
import io
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from crackdet.config.file_data import TiledData
from crackdet.config.schema import Data, Runtime
from crackdet.core.errors import UserError
from crackdet.core.files import expand_home
from crackdet.core.reading import MAX_CSV, read_bytes
from crackdet.data.records import ImageRecord
from crackdet.store.run_store import RunStore

HARD_SHARE = 0.5  # of the training negatives, if hard negatives are given; the others stay random

Scores = Mapping[str, float]  # digest of a tile -> logit of the run that found it


def choose_negatives(records: Sequence[ImageRecord], data: Data, scores: Scores | None = None) -> list[ImageRecord]:
    """Return the records of a split with `data.negatives_per_positive` negatives for each positive, if it has any.

    The choice depends on `data.split_seed` and on the digests alone; a larger ratio keeps the negatives of a smaller.

    Args:
        scores: Logits of a run, for the training split; the negatives with the highest logits are half of the choice.
    """
    ratio = data.negatives_per_positive if isinstance(data, TiledData) else None
    negatives = [record for record in records if not record.crack]
    positives = len(records) - len(negatives)
    wanted = len(negatives) if ratio is None or not positives else max(1, round(ratio * positives))
    if wanted >= len(negatives):
        return list(records)
    order = sorted(negatives, key=lambda record: _random_key(record.digest, data.split_seed))
    hard: list[ImageRecord] = []
    if scores is not None:
        known = [record for record in order if record.digest in scores]
        num_hard = round(HARD_SHARE * wanted)
        if len(known) < max(1, num_hard):
            raise UserError(
                f"data.hard_negatives={getattr(data, 'hard_negatives', '')}: its scores are of other tiles than these: "
                f"{len(known)} of {len(negatives)} training tiles without a crack have a score; run `crackdet mine` "
                "with the root, tile and stride of this data"
            )
        hard = sorted(known, key=lambda record: -scores[record.digest])[:num_hard]
    digests = {record.digest for record in hard}
    rest = [record for record in order if record.digest not in digests]
    return [record for record in records if record.crack] + hard + rest[: wanted - len(hard)]


def read_scores(data: Data, runtime: Runtime) -> tuple[Scores | None, str]:
    """Return the scores of `data.hard_negatives` and their digest; None and an empty text if it is not set.

    Raises:
        UserError: If the run has no scores, or they cannot be read.
    """
    file = scores_file(data, runtime)
    if file is None or not isinstance(data, TiledData):
        return None, ""
    name = data.hard_negatives
    if data.negatives_per_positive is None:
        raise UserError(f"data.hard_negatives={name}: needs data.negatives_per_positive, the number of negatives")
    try:
        content = read_bytes(file, MAX_CSV)
        rows = list(csv.DictReader(io.StringIO(content.decode())))
        scores = {row["digest"]: float(row["logit"]) for row in rows}
        if not all(map(math.isfinite, scores.values())):
            raise ValueError
        return scores, hashlib.sha256(content).hexdigest()
    except (FileNotFoundError, NotADirectoryError):
        problem = (
            f"this run has no scores of tiles; `crackdet mine {name}` writes them"
            if file.parent.is_dir()
            else f"there is no such run in runtime.store={runtime.store}"
        )
        raise UserError(f"data.hard_negatives={name}: {problem}") from None
    except (OSError, ValueError, KeyError, TypeError, csv.Error) as error:
        reason = getattr(error, "strerror", None) or "is not a table of digests and logits"
        raise UserError(
            f"data.hard_negatives={name}: {file} cannot be read ({reason}); `crackdet mine {name}` writes it again"
        ) from None


def scores_file(data: Data, runtime: Runtime) -> Path | None:
    """Return the file of the scores that `data.hard_negatives` names; None if it is not set.

    Raises:
        UserError: If the setting is not a run id.
    """
    name = data.hard_negatives if isinstance(data, TiledData) else None
    if name is None:
        return None
    try:
        return RunStore(expand_home(runtime.store)).run(name).negatives_file
    except UserError as error:
        raise UserError(f"data.hard_negatives={error}") from None


def _random_key(digest: str, seed: int) -> bytes:
    return hashlib.sha256(f"{seed}:{digest}".encode()).digest()
