"""The linear probe: scikit-learn's logistic regression on standardised features."""

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from crackdet.core.errors import NotFinite, RunFailed
from crackdet.training.probe.linear import DEFAULT_C, GRID, LinearProbe, fit_linear_probe

FEW = settings(max_examples=15, deadline=None)


def images(number: int, dimension: int, seed: int = 0, distance: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """Return features of two overlapping classes, on different scales, and labels."""
    generator = np.random.default_rng(seed)
    labels = np.arange(number) % 2 == 0
    features = generator.normal(size=(number, dimension))
    features[:, : max(1, dimension // 4)] += distance * labels[:, None]
    scale, shift = generator.uniform(0.5, 20, dimension), generator.normal(size=dimension)
    return (features * scale + shift).astype(np.float32), labels


def fit(features: np.ndarray, labels: np.ndarray, c: float | None = None, **options: object) -> LinearProbe:
    groups: Sequence[str] = [""] * len(labels)
    return fit_linear_probe(features, labels, groups, regularisations=GRID if c is None else [c], **options)  # type: ignore[arg-type]


def reference(features: np.ndarray, labels: np.ndarray, c: float, weights: np.ndarray | None = None) -> np.ndarray:
    scaler = StandardScaler().fit(features.astype(float), sample_weight=weights)
    model = LogisticRegression(C=c, max_iter=5000, tol=1e-8)
    scaled = scaler.transform(features.astype(float))
    return np.asarray(model.fit(scaled, labels, sample_weight=weights).decision_function(scaled))


@pytest.mark.parametrize("dimension", [1, 7, 60, 500])  # fewer and more features than images
@pytest.mark.parametrize("weighted", [False, True])
def test_logits_are_those_of_scikit_learn(dimension: int, weighted: bool) -> None:
    features, labels = images(60, dimension)
    weights = np.random.default_rng(1).uniform(0.2, 3, len(labels)) if weighted else None
    probe = fit(features, labels, 0.05, weights=weights)
    assert probe.weight.shape == (dimension,)
    np.testing.assert_allclose(probe.logits(features), reference(features, labels, 0.05, weights), atol=2e-3)


def test_the_penalty_is_that_of_the_lowest_log_loss_in_folds_that_keep_groups_together() -> None:
    """Copies of an image in one group must not make a weak penalty look good."""
    features, labels = images(40, 60, distance=0.4)
    copies, copied = np.repeat(features, 10, axis=0), np.repeat(labels, 10)
    copies += np.random.default_rng(0).normal(0, 1e-3, copies.shape).astype(np.float32)
    by_photograph = fit_linear_probe(copies, copied, [str(index // 10) for index in range(400)])
    by_image = fit_linear_probe(copies, copied, [""] * 400)
    assert by_photograph.regularisation < by_image.regularisation / 10


def test_the_choice_agrees_with_a_search_over_pipelines() -> None:
    from sklearn.model_selection import GridSearchCV, StratifiedKFold

    features, labels = images(200, 30, distance=0.5)
    pipeline = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    folds = StratifiedKFold(5, shuffle=True, random_state=3)
    search = GridSearchCV(pipeline, {"logisticregression__C": GRID}, scoring="neg_log_loss", cv=folds)
    chosen = search.fit(features, labels).best_params_["logisticregression__C"]
    assert chosen / 4 <= fit(features, labels, seed=3).regularisation <= chosen * 4


def test_a_loss_that_begins_flat_does_not_end_the_choice() -> None:
    """Groups of one class make the weakest probes a little worse than none, before stronger ones are far better."""
    features, labels = images(60, 30, distance=3)
    groups = [f"{index % 2}{index // 20}" for index in range(60)]
    probe = fit_linear_probe(features, labels, groups)
    assert probe.regularisation > 1e-3 and ((probe.logits(features) > 0) == labels).all()


def test_without_enough_groups_the_penalty_is_the_default_and_that_is_said() -> None:
    features, labels = images(20, 3)
    probe = fit_linear_probe(features, labels, ["wall" if crack else "road" for crack in labels])
    assert probe.regularisation == DEFAULT_C and "default" in probe.notes[0]


def test_a_choice_at_the_end_of_the_grid_is_said() -> None:
    features, labels = images(200, 3, distance=2)
    groups = [""] * 200
    assert "largest" in fit_linear_probe(features, labels, groups, regularisations=[1e-5, 1e-4]).notes[0]
    assert not fit_linear_probe(features, labels, groups).notes


def test_a_solver_that_does_not_converge_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("crackdet.training.probe.linear.MAX_ITERATIONS", 2)
    assert "did not converge" in fit(*images(60, 30), c=1.0).notes[0]


def test_features_that_say_nothing_get_the_strongest_penalty_and_that_is_said() -> None:
    features, labels = np.ones((40, 3), np.float32), np.arange(40) % 2 == 0
    probe = fit(features, labels)
    assert not probe.weight.any() and "predict little" in probe.notes[0]
    assert abs(probe.bias) < 1e-3


@FEW
@given(st.integers(0, 99), st.integers(1, 40))
def test_swapped_labels_give_the_opposite_logits(seed: int, dimension: int) -> None:
    features, labels = images(24, dimension, seed)
    np.testing.assert_allclose(
        fit(features, labels, 0.1).logits(features), -fit(features, ~labels, 0.1).logits(features), atol=2e-3
    )


@FEW
@given(st.integers(0, 99), st.floats(0.01, 100), st.floats(-10, 10), st.booleans())
def test_scale_and_shift_of_features_change_nothing(seed: int, scale: float, shift: float, wide: bool) -> None:
    features, labels = images(24, 50 if wide else 5, seed)
    changed = (features * np.float32(scale) + np.float32(shift)).astype(np.float32)
    one, other = fit(features, labels, 0.1), fit(changed, labels, 0.1)
    np.testing.assert_allclose(one.logits(features), other.logits(changed), atol=5e-3)


@FEW
@given(st.integers(0, 99), st.integers(1, 40))
def test_an_image_twice_is_an_image_of_twice_the_weight(seed: int, dimension: int) -> None:
    features, labels = images(20, dimension, seed)
    weights = np.where(np.arange(20) < 7, 2.0, 1.0)
    twice = np.r_[np.arange(20), np.arange(7)]
    doubled = fit(features[twice], labels[twice], 0.1)
    np.testing.assert_allclose(
        fit(features, labels, 0.1, weights=weights).logits(features), doubled.logits(features), atol=2e-3
    )


def test_a_constant_feature_gets_no_weight_and_changes_nothing() -> None:
    features, labels = images(60, 5)
    more = np.insert(features, 2, np.float32(1e4 / 3), axis=1)
    probe = fit(more, labels, 0.1)
    assert probe.weight[2] == 0
    np.testing.assert_allclose(probe.logits(more), fit(features, labels, 0.1).logits(features), atol=1e-3)


def test_features_in_half_precision_are_accepted() -> None:
    features, labels = images(60, 80)
    half = features.astype(np.float16)
    np.testing.assert_allclose(
        fit(half, labels, 0.01).logits(half.astype(np.float32)), reference(half, labels, 0.01), atol=2e-3
    )


def test_the_same_seed_gives_the_same_probe() -> None:
    features, labels = images(60, 80, distance=0.3)
    one, other = fit(features, labels, seed=5), fit(features, labels, seed=5)
    assert one.regularisation == other.regularisation and np.array_equal(one.weight, other.weight)


def test_features_that_are_not_finite_are_refused_with_their_number() -> None:
    features, labels = images(20, 5)
    features[3, 1], features[7, 2] = np.nan, np.inf
    with pytest.raises(NotFinite, match=r"2 of 20 images are not finite \(image 3\)"):
        fit(features, labels)


def test_images_of_one_class_are_refused() -> None:
    with pytest.raises(RunFailed, match="one class"):
        fit(images(20, 5)[0], np.ones(20, bool))
