"""`sweep.top`: the best candidates of a screen are the networks of a grid or of a search."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hydra.core.config_store import ConfigStore
from hydra.types import HydraContext, RunMode

from crackdet.analysis.search_results import FILE
from crackdet.config.composing import compose
from crackdet.config.overrides import parse_overrides
from crackdet.config.schema import Sweep as SweepSettings
from crackdet.core.errors import UserError
from crackdet.core.files import write_json
from crackdet.store.identity import Identity
from crackdet.store.run import Run
from crackdet.store.run_store import RunStore
from crackdet.store.sweep_record import SweepRecord
from crackdet.sweep.screen import Candidate, best_candidates
from tests.conftest import TINY
from tests.jobs import job_of
from tests.sweep.search.conftest import Sweep

OTHERS = [text for text in TINY if not text.startswith("model.")]  # the candidates bring the settings of the model
Publish = Callable[..., Run]
Choose = Callable[..., list[Candidate]]


@pytest.fixture
def publish(base_overrides: list[str]) -> Publish:
    """Publish a probe run as training does, with this accuracy."""

    def run(accuracy: float, *overrides: str, **result: Any) -> Run:
        job = job_of(compose([*OTHERS, "model.freeze_features=true", *base_overrides, *overrides]))
        content, settings = json.loads(job.identity.canonical), job.settings
        for tree in (content, settings):
            tree["trainer"] = {**tree["trainer"], "probe": True}
        identity = Identity(content)
        published = RunStore(job.run.root).run(identity.run_id)
        published.directory.mkdir(parents=True)
        write_json(published.identity_file, content)
        measured = {"loss": 0.5, "epoch": 1, "parameters": 10, "seconds": 1.0, "valid_digest": "a", **result}
        published.publish({"identity": identity.digest, "accuracy": accuracy, "settings": settings, **measured})
        return published

    return run


@pytest.fixture
def choose(hydra: HydraContext, base_overrides: list[str]) -> Choose:
    """Return the candidates that a command with these settings of the sweep and overrides would train."""

    def best(*overrides: str, **settings: Any) -> list[Candidate]:
        line = [*OTHERS, *base_overrides, *(text for text in overrides if not text.startswith("model"))]
        config = hydra.config_loader.load_configuration("config", [*line], run_mode=RunMode.MULTIRUN)
        return best_candidates(SweepSettings(**settings), parse_overrides(overrides), config, hydra)

    return best


def test_the_best_candidates_bring_their_networks_in_the_order_of_accuracy_then_loss(
    publish: Publish, choose: Choose, tmp_path: Path
) -> None:
    publish(0.7, "model.conv_out=[4,8]")
    publish(0.8, "model.conv_out=[16]", loss=0.4)
    publish(0.8, "model=resnet18", "model.weights=null", "model.batchnorm=eval", loss=0.3)
    publish(0.9, "model=torchvision", "model.name=vgg11", "model.weights=null", "model.input_mean=[0.5,0.5,0.5]")
    publish(0.6)
    assert [candidate.overrides for candidate in choose(top=4)] == [
        ("model=torchvision", "model.name=vgg11", "model.weights=null", "model.input_mean=[0.5,0.5,0.5]"),
        ("model=resnet18", "model.weights=null", "model.batchnorm=eval"),
        ("model=custom", "model.conv_out=[16]"),
        ("model=custom", "model.conv_out=[4,8]"),
    ]
    kept = choose("model.weights=null", "model.linear_features=8,16", "model.batchnorm=train,eval", top=2)
    assert kept[1].overrides == ("model=resnet18",), "what the command gives is not taken from the screen"


def test_seeds_of_a_candidate_are_averaged_and_the_settings_of_the_probe_do_not_count(
    publish: Publish, choose: Choose
) -> None:
    publish(0.9, "seed=0", "model.conv_out=[4]")
    publish(0.5, "seed=1", "model.conv_out=[4]")
    publish(0.8, "seed=0", "model.conv_out=[8]", "model.linear_features=7", knn_accuracy=0.75, logme=-0.25)
    found = choose(top=8)
    assert [candidate.text for candidate in found] == ["custom model.conv_out=[8]", "custom model.conv_out=[4]"]
    assert found[1].mean("accuracy") == pytest.approx(0.7) and found[1].mean("logme") is None
    shown = "accuracy 0.8000, log loss 0.5000, k-NN accuracy 0.7500, LogME -0.250 (custom-"
    assert found[0].describe().startswith(f"model=custom model.conv_out=[8]: {shown}")


def test_a_user_s_network_is_found_by_its_class(publish: Publish, choose: Choose) -> None:
    run = publish(0.9)
    content = json.loads(run.result_file.read_text())
    content["settings"]["model"] = {"_target_": "torchvision.models.resnet18", "name": "mine", "depth": 3}
    run.publish({name: value for name, value in content.items() if name not in ("id", "files", "checksum")})
    with pytest.raises(UserError, match=r"network torchvision\.models\.resnet18.*--config-dir"):
        choose(top=1)
    file = {"_target_": "torchvision.models.resnet18", "name": "mine", "depth": 2}
    ConfigStore.instance().store(group="model", name="mine", node=file)
    try:
        assert choose(top=1)[0].overrides == ("model=mine", "model.depth=3")
    finally:
        ConfigStore.instance().repo["model"].pop("mine.yaml")


@pytest.mark.parametrize(
    ("overrides", "settings", "message"),
    [
        ((), {"top": 3}, r"no finished run with trainer\.probe=true on these images; 1 such runs are on other images"),
        (("model=custom,resnet18",), {"top": 3}, r"sweep\.top=3: .*contradicts model=custom,resnet18"),
        (("model.name=vgg11",), {"top": 3}, r"contradicts model\.name=vgg11"),
        (("data.seed=0,1",), {"top": 3}, r"needs one data set.*give data\.seed one value"),
        ((), {"screen": "x"}, r"sweep\.screen=x: needs sweep\.top"),
        ((), {"top": 1, "screen": "/nowhere"}, r"sweep\.screen=/nowhere: no such folder"),
    ],
)
def test_what_names_no_screen_is_refused(
    publish: Publish, choose: Choose, overrides: tuple[str, ...], settings: dict[str, Any], message: str
) -> None:
    publish(0.9, "data.seed=5")
    with pytest.raises(UserError, match=message):
        choose(*overrides, **settings)


def test_of_several_screens_the_one_with_the_data_settings_of_the_sweep_counts(
    publish: Publish, choose: Choose, tmp_path: Path
) -> None:
    small = publish(0.7, "model.conv_out=[4]", "data.image_size=24")
    publish(0.8, "model.conv_out=[8]", "data.image_size=48")
    with pytest.raises(UserError, match=r"2 screens on these images, which differ in data\.image_size; choose one"):
        choose(top=1)
    SweepRecord(tmp_path / "sweep").add(small, [])
    assert choose(top=1, screen=str(tmp_path / "sweep"))[0].text == "custom model.conv_out=[4]"
    publish(0.6, "model.conv_out=[16]")
    assert [candidate.text for candidate in choose(top=3)] == ["custom model.conv_out=[16]"]


def test_a_grid_trains_the_candidates_with_each_value(publish: Publish, sweep: Sweep) -> None:
    for width, accuracy in ((2, 0.6), (4, 0.9)):
        publish(accuracy, f"model.conv_out=[{width}]")
    line = ("trainer.max_epochs=1", "model.linear_features=8", "optimizer.learning_rate=1e-4,1e-3", "sweep.order=given")
    outcome = sweep("sweep.top=1", *line, tiny=OTHERS)
    assert outcome.status == 0
    found = outcome.settings("model.conv_out", "optimizer.learning_rate", "model.freeze_features")
    assert found == [([4], 1e-4, False), ([4], 1e-3, False)]


def test_points_are_refused_beside_candidates(publish: Publish, sweep: Sweep) -> None:
    publish(0.9)
    with pytest.raises(UserError, match=r"sweep\.top=1: not possible together with hydra\.sweeper\.points"):
        sweep("sweep.top=1", "hydra.sweeper.points=[['seed=1']]", tiny=OTHERS)


def test_a_search_tries_the_candidates_first_in_the_order_of_the_screen(publish: Publish, sweep: Sweep) -> None:
    for width, accuracy in ((2, 0.6), (4, 0.7), (8, 0.9), (3, 0.8)):
        publish(accuracy, f"model.conv_out=[{width}]")
    line = ("hydra/sweeper=crackdet_optuna", "hydra.sweeper.sampler.seed=0", "trainer.max_epochs=1", "sweep.top=3")
    space = ("model.linear_features=interval(4,16)",)
    first = sweep(*line, *space, "hydra.sweeper.n_trials=1", tiny=OTHERS)
    assert first.settings("model.conv_out") == [([8],)]
    again = sweep(*line, *space, "hydra.sweeper.n_trials=3", tiny=OTHERS)
    assert again.settings("model.conv_out") == [([8],), ([3],), ([4],)], "those of the store are not repeated"
    assert "custom model.conv_out=" in (again.folder / FILE).read_text(), "the candidates are named as in a command"
