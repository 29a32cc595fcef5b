"""Search spaces: conditional parameters, refused spaces, and which runs lie inside."""

import json
import shutil
from dataclasses import asdict
from pathlib import Path

import optuna
import pytest

from crackdet.config.schema import TimmModel
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
    made, _ = space(*CONDITIONAL)
    for params in suggestions(made, 30):
        assert ("model.conv_out" in params) == (params["model"] == "custom")
        assert ("optimizer.momentum" in params) == (params["optimizer"] == "sgd")
    assert made.count == (2 * 4 + 4) * (1 + 2) == len(made.all())
    assert made.seeds == ["0", "1"]


def test_a_fixed_setting_that_the_chosen_options_do_not_have_is_left_out(space: MakeSpace) -> None:
    made, factory = space("model=custom,resnext50", "model.weights=null", "model.conv_out=[4,8]")
    for params in made.all():
        overrides = made.overrides(params)
        assert ("model.conv_out=[4,8]" in overrides) == (params["model"] == "custom")
        factory.job(overrides)


def test_the_name_of_a_network_is_a_parameter_of_torchvision_only(space: MakeSpace) -> None:
    made, factory = space("model=custom,resnet18,torchvision", "model.name=resnet18,resnet34", "model.weights=null")
    found = [factory.job(made.overrides(params)).config.model.name for params in made.all()]
    assert found == ["custom", "resnet18", "resnet18", "resnet34"]


def test_networks_of_timm_are_options_of_a_search(space: MakeSpace) -> None:
    made, factory = space("model=choice(custom,timm/resnet18)", "model.conv_out=[4],[8]", "model.weights=null")
    found = [factory.job(made.overrides(params)).config.model for params in made.all()]
    assert [model.name for model in found] == ["custom", "custom", "resnet18"]
    assert isinstance(found[-1], TimmModel)


def test_a_choice_from_one_value_is_no_parameter(space: MakeSpace) -> None:
    made, _ = space("optimizer=adam,sgd", "optimizer.momentum=choice(0.8)")
    assert made.all() == [{"optimizer": "adam"}, {"optimizer": "sgd"}]
    adam, sgd = (made.overrides(params) for params in made.all())
    assert "optimizer.momentum=0.8" in sgd and sgd.count("optimizer=sgd") == 1
    assert not any("momentum" in override for override in adam)


def test_one_line_says_which_options_have_a_parameter(space: MakeSpace, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO", "crackdet"):
        space(*CONDITIONAL)
    (record,) = caplog.records
    assert record.getMessage() == (
        "model.conv_out applies to model=custom only, optimizer.momentum applies to optimizer=sgd only"
    )


def test_the_run_of_every_suggestion_matches_the_suggestion(space: MakeSpace) -> None:
    made, factory = space(*CONDITIONAL)
    for params in suggestions(made, 25, seed=3):
        for seed in made.seeds:
            job = factory.job(made.overrides(params, seed))
            match = made.match_identity(json.loads(job.identity.canonical))
            assert match is not None and (match.params, match.seed) == (params, seed)
            read = Space.from_json(json.loads(json.dumps(asdict(made))))
            assert read.match_identity(json.loads(job.identity.canonical)) == match


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
def test_a_run_with_another_setting_lies_outside_the_space(space: MakeSpace, elsewhere: list[str]) -> None:
    made, factory = space("model.conv_out=[4,8],[8]", "model.linear_features=range(8,33,8)",
                           "optimizer.learning_rate=tag(log,interval(1e-4,1e-2))")  # fmt: skip
    inside = ["model.conv_out=[8]", "model.linear_features=16", "optimizer.learning_rate=0.002"]
    assert made.match_identity(json.loads(factory.job(inside).identity.canonical)) is not None
    assert made.match_identity(json.loads(factory.job([*inside, *elsewhere]).identity.canonical)) is None


def test_a_run_on_other_images_lies_outside_a_space_over_data(space: MakeSpace) -> None:
    made, factory = space("data.num_images=40,48", "data.image_size=32")
    for number, expected in ((40, True), (48, True), (56, False)):
        job = factory.job([f"data.num_images={number}", "data.image_size=32"])
        assert (made.match_identity(json.loads(job.identity.canonical)) is not None) is expected
    other = json.loads(factory.job(["data.num_images=40", "data.image_size=32"]).identity.canonical)
    assert made.match_identity({**other, "fingerprint": "of other images"}) is None


def test_identities_with_nulls_and_lists_match(space: MakeSpace) -> None:
    made, factory = space("trainer.gradient_clip_norm=null,1.0", "+model.input_mean=null,[0.5,0.5,0.5]")
    for params in made.all():
        match = made.match_identity(json.loads(factory.job(made.overrides(params)).identity.canonical))
        assert match is not None and match.params == params


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
def test_identities_with_normalised_values_match(
    space: MakeSpace, tmp_path: Path, photographs: Path, overrides: list[str]
) -> None:
    for name in ("a", "b"):
        (tmp_path / f"{name}.pth").write_text(name)
        shutil.copytree(photographs, tmp_path / name)
    next((tmp_path / "b").rglob("*.png")).unlink()
    made, factory = space(*(override.format(folder=tmp_path) for override in overrides))
    for space_again in (made, Space.from_json(json.loads(json.dumps(asdict(made))))):
        for params in made.all():
            match = space_again.match_identity(json.loads(factory.job(made.overrides(params)).identity.canonical))
            assert match is not None and match.params == params


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (
            ["model.linear_featurs=range(8,64)"],
            "model.linear_featurs=.*: unknown key; did you mean model.linear_features?",
        ),
        (["optimizer=adam,sgd", "optimizer.momentun=0.1,0.2"], "optimizer.momentun=.*: unknown key"),
        (["model=custom,resnet"], "model=resnet: no such option"),
        (["model=resnet18", "model.name=resnet50", "seed=0,1"], "model.name=resnet50: contradicts model=resnet18"),
        (["seed=interval(0,5)"], "replicates need single seeds"),
        (["model.linear_features=64"], "there is nothing to search over"),
        (["model.linear_features=-2,-1"], "model.linear_features=-2: must be an integer >= 1"),
        (["sweep.dry_run=true,false"], "must have a single value"),
    ],
)
def test_a_space_that_cannot_be_searched_is_refused(space: MakeSpace, overrides: list[str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        space(*overrides)


def test_an_exclude_expression_with_an_unknown_setting_is_refused(space: MakeSpace) -> None:
    space("model=custom,resnext50", "model.weights=null", "seed=0,1", exclude="model.conv_out == [4,8] and seed == 1")
    with pytest.raises(UserError, match=r"sweep\.exclude: unknown setting model\.linear_feature;"):
        space("model.linear_features=8,16", exclude="model.linear_feature == 16")


def test_the_later_of_two_overrides_counts(space: MakeSpace) -> None:
    made, _ = space("model.linear_features=range(8,64)", "seed=0,1", "model.linear_features=8,16", "seed=3")
    assert made.count == 2 and not made.seeds
    assert all("seed=3" in made.overrides(params) for params in made.all())


def test_options_whose_runs_are_all_excluded_are_not_in_the_space(space: MakeSpace) -> None:
    wrong = ("model=custom,resnext50", "model.weights=nowhere.pth,null")
    made, factory = space(*wrong, exclude="model.weights == 'nowhere.pth'")
    assert made.count == 4
    assert [factory.excludes(made.overrides(params)) for params in made.all()].count(True) == 2
