"""`data=synthetic`: what the source adds to the generator."""

import pytest

from crackdet.config.schema import SyntheticData
from crackdet.core.errors import UserError
from tests.data.sources.conftest import ListRecords


def test_synthetic_images_of_one_class_are_rejected(list_records: ListRecords) -> None:
    with pytest.raises(UserError, match=r"data\.crack_fraction=1e-09: holds no image with a crack"):
        list_records(SyntheticData(num_images=10, crack_fraction=1e-9))
