"""What a screen tells: its ranking of seventeen candidates against that of fine-tuning them all.

    python -m benchmarks.screening --photographs METU --cracks CRACKS48 --weights FOLDER

screens and fine-tunes (one recipe for all) on METU, split by block, and on tiles of cracks48, split by photograph. It
prints Kendall's tau with a bootstrap interval over the candidates, whether the best one is among the first five of the
screen, and the wall times of both commands. Photographs are decoded before. METU needs `manifest.csv` with the column
`block`; FOLDER holds mobilenet_v2_imagenet_folded.pth and tf_efficientnet_lite0_fp16.safetensors.
"""

import json
import tempfile
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
import yaml
from scipy.stats import kendalltau

from benchmarks.bench import TRAIN
from benchmarks.measurement import HEADER, Measurement, run_python

MOBILENET, LITE0 = "mobilenet_v2", "tf_efficientnet_lite0"
FILES = {MOBILENET: "mobilenet_v2_imagenet_folded.pth", LITE0: "tf_efficientnet_lite0_fp16.safetensors"}
CUTS = (  # network, stages, the first half of the channels, pretrained
    *((MOBILENET, depth, half, True) for depth, half in ((4, False), (7, False), (11, False), (11, True), (14, False))),
    *((MOBILENET, 19, half, True) for half in (False, True)),
    *((LITE0, depth, half, True) for depth, half in ((3, False), (4, False), (6, False), (6, True), (9, False))),
    (MOBILENET, 19, False, False),
    (LITE0, 6, False, False),
)
CUSTOM = {"custom_a": [16, 32, 64], "custom_b": [32, 64]}  # trained on synthetic images
RECIPE = ["optimizer=adamw", "optimizer.learning_rate=3e-4", "scheduler=cosine", "trainer.batch_size=32"]
FIRST = 5
RESAMPLES = 2000


def write_candidates(folder: Path, weights: Path, common: list[str]) -> list[str]:
    """Write an option of `model` for each candidate, and return their names; trains the custom networks."""
    (folder / "model").mkdir(parents=True)
    shared = {"weights": None, "linear_features": 128, "freeze_features": False}
    options: dict[str, dict[str, Any]] = {}
    for network, depth, half, pretrained in CUTS:
        name = f"{network.removeprefix('tf_')}_{depth}{'_half' * half}{'' if pretrained else '_random'}"
        options[name] = {
            "_target_": "benchmarks.cut_network.CutNetwork", **shared, "network": network, "depth": depth,
            "half": half, "file": str(weights / FILES[network]) if pretrained else None,
            "batchnorm": "eval" if pretrained else "train", "input_mean": [0.5] * 3, "input_std": [0.5] * 3,
        }  # fmt: skip
    for name, conv_out in CUSTOM.items():
        synthetic = ["data=synthetic", "data.num_images=1500", "data.image_size=64", "trainer.max_epochs=8"]
        line = ["model=custom", f"model.conv_out={conv_out}".replace(" ", ""), "model.linear_features=128", *synthetic]
        run_python(TRAIN, *line, "optimizer.learning_rate=1e-3", *common, f"runtime.store={name}", folder=folder)
        (file,) = (folder / name).glob("*/model.safetensors")
        options[name] = {"defaults": ["custom", "_self_"], **shared, "conv_out": conv_out, "weights": str(file)}
    options["custom_random"] = {"defaults": ["custom", "_self_"], **shared, "conv_out": CUSTOM["custom_a"]}
    for name, option in options.items():
        named = {} if "defaults" in option else {"name": name}
        (folder / "model" / f"{name}.yaml").write_text(yaml.safe_dump({**option, **named}, sort_keys=False))
    return list(options)


def results(store: Path) -> dict[str, dict[str, Any]]:
    """Return the result of each candidate."""
    found = {}
    for file in store.glob("*/result.json"):
        result = json.loads(file.read_text())
        model = result["settings"]["model"]
        name = model["name"]
        if name == "custom":
            name = next((key for key in CUSTOM if f"/{key}/" in str(model["weights"])), "custom_random")
        found[name] = result
    return found


def tau_with_interval(one: np.ndarray, other: np.ndarray) -> tuple[float, float, float]:
    """Return Kendall's tau-b with its 95 % percentile interval over resampled candidates."""
    generator = np.random.default_rng(0)
    samples = generator.integers(len(one), size=(RESAMPLES, len(one)))
    taus = [kendalltau(one[rows], other[rows]).statistic for rows in samples]
    low, high = np.nanpercentile(taus, [2.5, 97.5])
    return float(kendalltau(one, other).statistic), float(low), float(high)


def compare(title: str, folder: Path, names: list[str], data: list[str], common: list[str], epochs: int) -> None:
    """Screen and fine-tune all candidates on one data set; print the comparison."""
    models = f"model={','.join(names)}"
    start = [TRAIN, "--config-dir", str(folder), "-m", models, *data, *common, "sweep.report=false"]
    run_python(TRAIN, "model=custom", "model.conv_out=[4]", "trainer.max_epochs=1", *data, *common,
               "runtime.store=decoded", folder=folder)  # fmt: skip
    label = title.partition(",")[0]
    screen, _ = run_python(*start, "experiment=screen", f"runtime.store=screen-{label}", folder=folder)
    recipe = [*RECIPE, f"trainer.max_epochs={epochs}", f"trainer.patience={epochs}"]
    trained, _ = run_python(*start, *recipe, f"runtime.store=trained-{label}", folder=folder)
    probes, finals = results(folder / f"screen-{label}"), results(folder / f"trained-{label}")
    assert set(probes) == set(finals) == set(names), "a run failed"
    order = sorted(names, key=lambda name: (-probes[name]["accuracy"], probes[name]["loss"]))
    best = max(finals[name]["accuracy"] for name in names)
    result = finals[names[0]]
    print(f"\n{title}: {result['train_images']} training and {result['valid_images']} validation images, ", end="")
    print(f"{len(names)} candidates, {epochs} epochs\n")
    print("| candidate, in the order of the screen | probe | log loss | k-NN | LogME | fine-tuned |\n|" + " --- |" * 6)
    for name in order:
        probe = probes[name]
        values = f"{probe['accuracy']:.4f} | {probe['loss']:.4f} | {probe['knn_accuracy']:.4f} | {probe['logme']:.3f}"
        print(f"| {name} | {values} | {finals[name]['accuracy']:.4f} |")
    truth = np.array([finals[name]["accuracy"] for name in names])
    print()
    for key, sign in (("accuracy", 1), ("loss", -1), ("knn_accuracy", 1), ("logme", 1)):
        tau, low, high = tau_with_interval(sign * np.array([probes[name][key] for name in names]), truth)
        print(f"Kendall's tau of {key} and fine-tuned accuracy: {tau:.2f} (95 % interval {low:.2f} to {high:.2f})")
    ranks = [rank for rank, name in enumerate(order, 1) if finals[name]["accuracy"] == best]
    regret = best - max(finals[name]["accuracy"] for name in order[:FIRST])
    print(f"the best after fine-tuning ({best:.4f}) is at rank {', '.join(map(str, ranks))} of the screen; ", end="")
    print(f"the best of its first {FIRST} is {100 * regret:.2f} points behind")
    details = f"{trained:.0f} s and {screen:.0f} s"
    print(f"\n{HEADER}")
    print(Measurement(f"screen of {len(names)}, {title}", "fine-tuning all", 20, trained / screen, details).row())


def main(
    photographs: Annotated[Path, typer.Option(help="The folder of METU, with manifest.csv.")],
    cracks: Annotated[Path, typer.Option(help="The folder of cracks48.")],
    weights: Annotated[Path, typer.Option(help="The folder of the two files of weights.")],
    images: Annotated[int, typer.Option(help="Number of images of each data set.")] = 600,
    size: Annotated[int, typer.Option(help="Pixels a side.")] = 64,
    epochs: Annotated[int, typer.Option(help="Of fine-tuning.")] = 12,
) -> None:
    """Measure and print; takes about a quarter of an hour on one core."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        common = [f"runtime.cache={folder / 'cache'}", "runtime.device=cpu", "trainer.precision=fp32"]
        names = write_candidates(folder, weights.absolute(), common)
        sized = [f"data.image_size={size}", "data.valid_fraction=0.5"]
        sized.append(f"data.max_images={images}")
        metu = ["data=table", f"data.table={photographs.absolute() / 'manifest.csv'}", "data.groups=block"]
        compare("METU, by block", folder, names, [*metu, *sized], common, epochs)
        tiles = ["data=masks", f"data.root={cracks.absolute()}", "data.tile=96", "data.negatives_per_positive=1"]
        compare("cracks48, by photograph", folder, names, [*tiles, *sized], common, epochs)


if __name__ == "__main__":
    typer.run(main)
