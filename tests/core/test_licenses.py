"""Licenses as users name them."""

import pytest

from crackdet.core.errors import UserError
from crackdet.core.licenses import RANDOM, is_permitted, license_name, parse_licenses


@pytest.mark.parametrize(
    ("text", "wanted", "permitted"),
    [
        ("apache-2.0 (resnet50.a1_in1k of timm)", "Apache-2.0", True),
        ("apache-2.0 (resnet50.a1_in1k of timm)", "apache 2.0", True),
        ("apache-2.0", "Apache", True),
        ("bsd-3-clause", "MIT, BSD", True),
        ("bsd-3-clause", "BSD-2-Clause", False),
        ("lgpl-3.0", "GPL", False),
        ("cc-by-nc-4.0", "MIT,Apache-2.0", False),
        ("apache-2.0 (mit_b0 of timm, https://mit.edu)", "MIT", False),
        ("https://github.com/facebookresearch/SWAG/blob/main/LICENSE (SWAG)", "MIT", False),
        ("unknown: torchvision states none; its code is BSD-3-Clause", "BSD-3-Clause", False),
        ("unknown: see the source", "unknown", False),
        (RANDOM, "MIT", True),
    ],
)
def test_a_license_is_permitted_by_whole_words_of_its_own_text(text: str, wanted: str, permitted: bool) -> None:
    assert is_permitted(text, parse_licenses(wanted)) is permitted


def test_a_table_shows_the_license_alone() -> None:
    url = "https://github.com/facebookresearch/SWAG/blob/main/LICENSE (ViT_B_16_Weights.IMAGENET1K_SWAG_E2E_V1)"
    texts = ("mit (x of timm)", RANDOM, "unknown: see the source", url)
    assert [license_name(text) for text in texts] == ["mit", "random", "unknown", "facebookresearch/SWAG"]


def test_an_option_without_a_license_is_refused() -> None:
    assert parse_licenses(None) == []
    with pytest.raises(UserError, match="--license: must be one or more licenses"):
        parse_licenses(" , ")
