"""Search spaces: what depends on the chosen options, what is refused, which runs lie inside."""

import json
import shutil
from pathlib import Path

import optuna
import pytest

from crackdet.core.errors import UserError
from crackdet.sweep.search.space import Space
from tests.sweep.search.conftest import MakeSpace

CONDITIONAL = (
    "model=custom,resnext50",
    "model.weights=null",
    "model.conv_out=[4,8],[8,16]",
    "model.linear_features=range(8,33,8)",
    "optimizer=adam,sgd",
    "optimizer.momentum=0.0,0.9",
    "seed=0,1",
)


def suggestions(space: Space, number: int, seed: int = 0) -> list[dict[str, object]]:
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=seed))
    return [space.suggest(study.ask()) for _ in range(number)]


def test_a_parameter_that_the_chosen_options_do_not_have_is_not_suggested(space: MakeSpace) -> None:
    found, _ = space(*CONDITIONAL)
    for params in suggestions(found, 30):
        assert ("model.conv_out" in params) == (params["model"] == "custom")
        assert ("optimizer.momentum" in params) == (params["optimizer"] == "sgd")
    assert found.count == (2 * 4 + 4) * (1 + 2) == len(found.all())
    assert found.seeds == ["0", "1"]


def test_a_fixed_setting_that_the_chosen_options_do_not_have_is_left_out_too(space: MakeSpace) -> None:
    found, planner = space("model=custom,resnext50", "model.weights=null", "model.conv_out=[4,8]")
    for params in found.all():
        overrides = found.overrides(params)
        assert ("model.conv_out=[4,8]" in overrides) == (params["model"] == "custom")
        planner.job(overrides)


def test_every_suggestion_can_be_planned_and_its_run_is_found_to_be_of_it(space: MakeSpace) -> None:
    found, planner = space(*CONDITIONAL)
    for params in suggestions(found, 25, seed=3):
        for seed in found.seeds:
            job = planner.job(found.overrides(params, seed))
            located = found.locate(json.loads(job.identity.canonical))
            assert located is not None and (located.params, located.seed) == (params, seed)
            read = Space.from_json(json.loads(json.dumps(found.to_json())))
            assert read.locate(json.loads(job.identity.canonical)) == located


@pytest.mark.parametrize(
    "elsewhere",
    [
        ["model.linear_features=12"],
        ["model.conv_out=[4,9]"],
        ["optimizer.learning_rate=0.02"],
        ["optimizer.weight_decay=1"],
        ["trainer.max_epochs=3"],
        ["data.num_images=64"],
        ["data.seed=1"],
        ["seed=1"],
    ],
)
def test_a_run_that_differs_in_anything_else_lies_outside(space: MakeSpace, elsewhere: list[str]) -> None:
    found, planner = space("model.conv_out=[4,8],[8]", "model.linear_features=range(8,33,8)",
                           "optimizer.learning_rate=tag(log,interval(1e-4,1e-2))")  # fmt: skip
    inside = ["model.conv_out=[8]", "model.linear_features=16", "optimizer.learning_rate=0.002"]
    assert found.locate(json.loads(planner.job(inside).identity.canonical)) is not None
    assert found.locate(json.loads(planner.job([*inside, *elsewhere]).identity.canonical)) is None


def test_where_data_is_a_parameter_only_its_own_images_count(space: MakeSpace) -> None:
    found, planner = space("data.num_images=40,48", "data.image_size=32")
    for number, expected in ((40, True), (48, True), (56, False)):
        job = planner.job([f"data.num_images={number}", "data.image_size=32"])
        assert (found.locate(json.loads(job.identity.canonical)) is not None) is expected
    other = json.loads(planner.job(["data.num_images=40", "data.image_size=32"]).identity.canonical)
    assert found.locate({**other, "fingerprint": "of other photographs"}) is None


def test_nulls_and_lists_are_found_in_identities(space: MakeSpace) -> None:
    found, planner = space("trainer.gradient_clip_norm=null,1.0", "+model.input_mean=null,[0.5,0.5,0.5]")
    for params in found.all():
        located = found.locate(json.loads(planner.job(found.overrides(params)).identity.canonical))
        assert located is not None and located.params == params


@pytest.mark.parametrize(
    "overrides",
    [
        ["model=torchvision", "model.name=resnet18,resnet50"],  # DEFAULT weights of different names
        ["model=torchvision", "model.name=resnet18", "model.weights=DEFAULT,null", "trainer.max_epochs=1,2"],
        ["trainer.compile=true,false"],
        ["model.weights={folder}/a.pth,{folder}/b.pth", "model.linear_features=range(8,17,8)"],
        ["data=folder", "data.image_size=32", "data.root={folder}/a,{folder}/b"],
    ],
)
def test_what_an_identity_holds_otherwise_than_it_was_suggested_is_found(
    space: MakeSpace, tmp_path: Path, photographs: Path, overrides: list[str]
) -> None:
    for name in ("a", "b"):
        (tmp_path / f"{name}.pth").write_text(name)
        shutil.copytree(photographs, tmp_path / name)
    next((tmp_path / "b").rglob("*.png")).unlink()
    found, planner = space(*(override.format(folder=tmp_path) for override in overrides))
    for space_again in (found, Space.from_json(json.loads(json.dumps(found.to_json())))):
        for params in found.all():
            located = space_again.locate(json.loads(planner.job(found.overrides(params)).identity.canonical))
            assert located is not None and located.params == params


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["model.linear_featurs=range(8,64)"], "model.linear_featurs=.*: unknown key; did you mean linear_features?"),
        (["optimizer=adam,sgd", "optimizer.momentun=0.1,0.2"], "optimizer.momentun=.*: unknown key"),
        (["model=custom,resnet"], "model=resnet: no such option"),
        (["seed=interval(0,5)"], "replicates need single seeds"),
        (["model.linear_features=64"], "there is nothing to search over"),
        (["model.linear_features=-2,-1"], "model.linear_features=-2: must be a whole number at least 1"),
        (["sweep.dry_run=true,false"], "cannot be swept over"),
    ],
)
def test_what_cannot_be_searched_is_refused_before_anything_is_trained(
    space: MakeSpace, overrides: list[str], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        space(*overrides)


def test_a_condition_on_a_setting_that_no_run_has_is_refused(space: MakeSpace) -> None:
    space("model=custom,resnext50", "model.weights=null", "seed=0,1", exclude="model.conv_out == [4,8] and seed == 1")
    with pytest.raises(UserError, match=r"sweep\.exclude: unknown setting model\.linear_feature;"):
        space("model.linear_features=8,16", exclude="model.linear_feature == 16")


def test_a_later_override_of_a_key_counts(space: MakeSpace) -> None:
    found, _ = space("model.linear_features=range(8,64)", "seed=0,1", "model.linear_features=8,16", "seed=3")
    assert found.count == 2 and not found.seeds
    assert all("seed=3" in found.overrides(params) for params in found.all())


def test_options_of_which_every_run_is_excluded_are_no_part_of_it(space: MakeSpace) -> None:
    wrong = ("model=custom,resnext50", "model.weights=nowhere.pth,null")
    found, planner = space(*wrong, exclude="model.weights == 'nowhere.pth'")
    assert found.count == 4
    assert [planner.excludes(found.overrides(params)) for params in found.all()].count(True) == 2
