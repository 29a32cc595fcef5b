"""The commands `crackdet inspect` and `crackdet pointing`."""

import html
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner, Result

from crackdet.cli.main import app
from crackdet.inference.loaded_run import LoadedRun
from tests import jobs
from tests.composing import compose
from tests.data.walls import TILE, make_walls
from tests.inspection.conftest import train


def crackdet(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def crack_image(sets: Path) -> Path:
    return sorted((sets / "clean" / "Positive").iterdir())[0]


def test_inspect_shows_representative_validation_images(clean_run: LoadedRun, store: Path, tmp_path: Path) -> None:
    result = crackdet("inspect", clean_run.id, "--store", store, "--output", tmp_path, "--top", 3)
    assert result.exit_code == 0, result.output
    assert re.search(r"conv1: 8 maps, \d dead, best \d+ \(\d\.\d\d\)", result.output)
    page = (tmp_path / "index.html").read_text()
    names = re.findall(r"<h2>(\w+/\d+\.png)</h2>", page)
    assert len(names) == 4
    for number, name in enumerate(names, 1):
        for kind in ("saliency", "conv1", "conv2"):
            with Image.open(tmp_path / f"{number}-{Path(name).stem}-{kind}.png") as image:
                assert np.asarray(image).std() > 10
    assert page.count("<img") == 4 * (3 + 2 * 3)
    assert f"crackdet inspect {clean_run.id} --store {store} --output {tmp_path} --map conv1:" in page
    assert re.search(r"Grad-CAM, up to [\d.e-]+: (on the crack|off the crack)", page)
    assert not re.search(r"""(src|href)=["'](?!data:)|https?://|url\(""", page)  # self-contained


def test_one_map_is_drawn_over_an_image_file(
    clean_run: LoadedRun, store: Path, crack_image: Path, tmp_path: Path
) -> None:
    result = crackdet("inspect", clean_run.id, crack_image, "--map", "conv2:5", "--store", store, "--output", tmp_path)
    assert result.exit_code == 0, result.output
    assert [path.name for path in tmp_path.iterdir()] == ["conv2-5.png"]


def test_image_files_can_be_inspected_if_the_data_of_the_run_is_gone(sets: Path, tmp_path: Path) -> None:
    shutil.copytree(sets / "clean", tmp_path / "data")
    image = shutil.copy(sorted((sets / "clean" / "Negative").iterdir())[0], tmp_path / "image.png")
    run = train(tmp_path / "data", tmp_path / "runs", tmp_path / "cache", "trainer.max_epochs=1")
    shutil.rmtree(tmp_path / "data")
    result = crackdet("inspect", run.id, image, "--store", tmp_path / "runs", "--output", tmp_path / "out")
    assert result.exit_code == 0, result.output
    assert "how much they vary" in (tmp_path / "out" / "index.html").read_text()
    assert "no such folder" in crackdet("inspect", run.id, "--store", tmp_path / "runs").output


def test_pointing_scores_are_printed_and_shown_on_the_page(clean_run: LoadedRun, store: Path, tmp_path: Path) -> None:
    result = crackdet("pointing", clean_run.id, "--store", store)
    assert result.exit_code == 0, result.output
    assert re.search(r"Grad-CAM: pointing 0\.\d+, overlap 0\.\d+", result.output)
    crackdet("inspect", clean_run.id, "--store", store, "--output", tmp_path, "--top", 1)
    assert "The pointing game" in (tmp_path / "index.html").read_text()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["inspect", "RUN", "--map", "conv9:1"], "the stages are conv1, conv2"),
        (["inspect", "RUN", "--device", "abacus"], "device=abacus: cannot be used here"),
        (["pointing", "RUN", "--device", "abacus"], "device=abacus: cannot be used here"),
        (["inspect", "RUN", "--map", "conv1"], "must be STAGE:NUMBER"),
        (["inspect", "RUN", "--map", "conv1:8"], "conv1 has the maps 0 to 7"),
        (["inspect", "RUN", "nowhere.jpg"], "neither a file nor the name"),
        (["inspect", "RUN", __file__], "cannot be read"),
        (["inspect", "nobody"], "no such run"),
        (["pointing", "custom"], "matches several runs: custom-"),
        (["pointing", "RUN", "data.masks=nowhere"], "no such folder"),
        (["pointing", "RUN", "--split", "all"], "must be train, valid or test"),
    ],
)
def test_invalid_arguments_are_reported_with_one_message(
    clean_run: LoadedRun, marked_run: LoadedRun, store: Path, tmp_path: Path, arguments: list[str], message: str
) -> None:
    command = [clean_run.id if argument == "RUN" else argument for argument in arguments]
    output = ["--output", tmp_path] if arguments[0] == "inspect" else []
    result = crackdet(*command, "--store", store, *output)
    assert result.exit_code == 2
    assert message in result.output
    messages = [line for line in result.output.splitlines() if not line.startswith("data: ")]
    assert len(messages) == 1
    assert not list(tmp_path.iterdir())


def test_removed_weights_are_reported(sets: Path, tmp_path: Path, cache: Path) -> None:
    run = train(sets / "clean", tmp_path / "runs", cache, "trainer.max_epochs=1")
    run.run.weights_file.unlink()
    result = crackdet("inspect", run.id, "--store", tmp_path / "runs", "--output", tmp_path / "out")
    assert result.exit_code == 2
    assert "has been removed" in result.output


def test_a_tile_is_inspected_within_its_photograph_and_its_mask_counts(tmp_path: Path, cache: Path) -> None:
    overrides = [
        "data=masks", f"data.root={make_walls(tmp_path / 'walls')}", f"data.tile={TILE}", "data.image_size=32",
        "data.stride=16", "model.conv_out=[4,8]", "model.linear_features=8", "trainer.max_epochs=1",
        f"runtime.store={tmp_path / 'runs'}", f"runtime.cache={cache}", "runtime.device=cpu",
    ]  # fmt: skip
    run = jobs.train(compose(overrides), *overrides)
    options = ("--store", tmp_path / "runs")
    result = crackdet("pointing", run.id, "--images", 5, *options)
    assert result.exit_code == 0, result.output
    assert "Grad-CAM: pointing" in result.output
    result = crackdet("inspect", run.id, *options, "--top", 1, "--output", tmp_path / "out")
    assert result.exit_code == 0, result.output
    page = (tmp_path / "out" / "index.html").read_text()
    names = re.findall(r"<h2>(images/\d\.png#\d+,\d+,32x32)</h2>", page)
    assert 2 <= len(names) <= 4
    assert page.count("<figcaption>photograph</figcaption>") == len(names)
    name = names[0]
    result = crackdet("inspect", run.id, name, *options, "--top", 1, "--output", tmp_path / "one")
    assert re.findall(r"<h2>(.*)</h2>", (tmp_path / "one" / "index.html").read_text())[-1] == name
    assert re.search(rf"--map conv1:\d '{re.escape(name)}'", html.unescape(page))  # the command in a shell
