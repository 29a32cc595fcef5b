"""How many epochs of a grid a search has to train: TPE with pruning, random search, and hydra-optuna-sweeper.

    python benchmarks/search.py grid       # trains the grid of 96 runs into --store; the same command resumes
    python benchmarks/search.py compare    # searches it by each method and seed; prints a table, plots docs/search.svg

A search is replayed with a store of its own: instead of training a run, the replay writes the history of the grid's run
epoch by epoch and asks the pruner after each. The search decides as if it trained; the epochs are counted.
"""

import argparse
import contextlib
import io
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import mean, median
from typing import Any

from hydra import initialize_config_dir
from hydra._internal.callbacks import Callbacks
from hydra.core.global_hydra import GlobalHydra
from hydra.core.plugins import Plugins
from hydra.core.utils import JobReturn, JobStatus, setup_globals
from hydra.types import HydraContext, RunMode
from omegaconf import DictConfig, OmegaConf

from crackdet.config.composing import CONF
from crackdet.config.groups import register
from crackdet.core.files import write_csv, write_json
from crackdet.store.failures import Failure, record_failure
from crackdet.store.integrity import read_result
from crackdet.store.run import Run
from crackdet.store.run_store import RunStore
from crackdet.sweep.search.job_factory import JobFactory
from crackdet.sweep.selection import ExcludeFilter

ROOT = Path(__file__).parent.parent
SPACE = [
    "model.conv_out=[8],[8,16],[8,16,32],[8,16,32,64]",
    "model.linear_features=16,64,256",
    "optimizer.learning_rate=1e-5,3e-5,1e-4,3e-4,1e-3,3e-3,1e-2,3e-2",
]
FIXED = [
    "data.num_images=1600", "data.image_size=32", "data.valid_fraction=0.5",
    "trainer.max_epochs=12", "trainer.patience=12", "runtime.device=cpu", "runtime.num_threads=1",
    "runtime.keep_weights=none", "runtime.keep_resume_mib=0",
]  # fmt: skip
TRIALS = 60
OURS = "hydra/sweeper=crackdet_optuna"
METHODS: dict[str, list[str]] = {
    "TPE, successive halving": [OURS, "hydra/sweeper/pruner=successive_halving"],
    "TPE, Hyperband": [OURS, "hydra/sweeper/pruner=hyperband"],
    "TPE, median": [OURS, "hydra/sweeper/pruner=median"],
    "TPE, no pruning": [OURS],
    "random, no pruning": [OURS, "hydra/sweeper/sampler=random"],
    "hydra-optuna-sweeper": ["hydra/sweeper=optuna", "hydra.sweeper.direction=maximize"],
}
PLOTTED = ("TPE, Hyperband", "TPE, successive halving", "TPE, median", "random, no pruning", "hydra-optuna-sweeper")


class Replay:
    """A launcher that takes results from the grid's runs; `curve` holds (epochs so far, best accuracy so far)."""

    def __init__(self, grid: RunStore, job_factory: JobFactory, config: DictConfig) -> None:
        self._grid, self._job_factory, self._config = grid, job_factory, config
        self.curve: list[tuple[int, float]] = [(0, 0.0)]

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> list[JobReturn]:
        return [
            JobReturn(_return_value=self._train(list(overrides)), status=JobStatus.COMPLETED)
            for overrides in job_overrides
        ]

    def _train(self, overrides: list[str]) -> float | None:
        job = self._job_factory.job(overrides)
        trained, run = self._grid.run(job.run.id).snapshot(), job.run
        assert trained.result is not None, f"{trained.id} is not in the grid"
        accuracy = float(trained.result["accuracy"])
        if read_result(run) is not None:  # the store answers a repeated suggestion, also that of hydra-optuna-sweeper
            return accuracy
        run.directory.mkdir(parents=True, exist_ok=True)
        write_json(run.identity_file, json.loads(job.identity.canonical))
        prune_check = self._prune_check(run)
        rows: list[dict[str, Any]] = []
        for row in trained.history:
            rows.append(row)
            write_csv(run.history_file, rows)
            self._record(0.0)
            if prune_check is not None and len(rows) < len(trained.history) and (reason := prune_check(rows)):
                record_failure(run, Failure.PRUNED, reason, attempts=0)
                return None
        run.publish({key: value for key, value in trained.result.items() if key not in ("id", "files", "checksum")})
        self._record(accuracy, epochs=0)
        return accuracy

    def _prune_check(self, run: Run) -> Any:
        from crackdet.sweep.search.prune_check import make_prune_check

        pruner = self._config.hydra.sweeper.get("pruner")
        if pruner is None or pruner._target_ == "optuna.pruners.NopPruner":
            return None
        settings: Any = OmegaConf.to_container(pruner, resolve=True)
        return make_prune_check(Path(self._config.hydra.sweep.dir), settings, run)

    def _record(self, accuracy: float, epochs: int = 1) -> None:
        last, best = self.curve[-1]
        self.curve.append((last + epochs, max(best, accuracy)))


def train_grid(store: Path) -> int:
    command = [sys.executable, str(ROOT / "train.py"), "-m", *FIXED, *SPACE, f"runtime.store={store}"]
    return subprocess.run([*command, f"hydra.sweep.dir={store.parent / 'grid'}"]).returncode


def search(method: Sequence[str], seed: int, trials: int, grid: RunStore, context: HydraContext) -> Any:
    """Run one search and return its curve."""
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
        paths = [f"runtime.store={folder}/runs", f"hydra.sweep.dir={folder}/sweep", "hydra.mode=MULTIRUN"]
        settings = [f"hydra.sweeper.sampler.seed={seed}", f"hydra.sweeper.n_trials={trials}", "hydra.sweeper.n_jobs=1"]
        overrides = [*FIXED, *SPACE, *paths, *method, *settings]
        config = context.config_loader.load_configuration("config", overrides, run_mode=RunMode.MULTIRUN)
        sweeper: Any = Plugins.instance().instantiate_sweeper(
            config=config, hydra_context=context, task_function=lambda _: None
        )
        replay = Replay(grid, JobFactory(context, config, ExcludeFilter(None)), config)
        for each in (sweeper, getattr(sweeper, "sweeper", sweeper)):  # hydra-optuna-sweeper wraps its sweeper
            each.launcher = replay
        Path(folder, "sweep").mkdir()
        with contextlib.suppress(SystemExit):
            sweeper.sweep(list(config.hydra.overrides.task))
        return replay.curve


@contextlib.contextmanager
def hydra_context() -> Iterator[HydraContext]:
    register()
    setup_globals()
    os.fsync = lambda file: None  # type: ignore[assignment]  # these stores are temporary
    with initialize_config_dir(str(CONF)):
        yield HydraContext(config_loader=GlobalHydra.instance().config_loader(), callbacks=Callbacks())


def compare(store: Path, seeds: int, data: Path) -> None:
    grid = RunStore(store)
    results = [result for run in grid.runs() if (result := read_result(run))]
    assert len(results) == 96, f"{store} holds {len(results)} finished runs, not 96; run: search.py grid"
    with hydra_context() as context:
        curves = {
            name: [search(method, seed, TRIALS, grid, context) for seed in range(seeds)]
            for name, method in METHODS.items()
        }
    content = {
        "accuracies": sorted(result["accuracy"] for result in results),
        "valid_images": results[0]["valid_images"],
        "epochs": sum(result["epochs"] for result in results),
        "curves": curves,
    }
    data.write_text(json.dumps(content))


def best_at(curve: Sequence[tuple[int, float]], epochs: float) -> float:
    return max(best for spent, best in curve if spent <= epochs)


def epochs_until(curve: Sequence[tuple[int, float]], accuracy: float) -> int | None:
    return next((spent for spent, best in curve if best >= accuracy), None)


def report(data: Path) -> None:
    """Print accuracy at 30 % of the grid's epochs, and the epochs until one standard error below the best."""
    content = json.loads(data.read_text())
    accuracies, total = content["accuracies"], content["epochs"]
    best = accuracies[-1]
    noise = (best * (1 - best) / content["valid_images"]) ** 0.5  # standard error of a proportion
    print(f"grid: {len(accuracies)} runs, {total} epochs, best {best:.4f}, median {median(accuracies):.4f}, "
          f"worst {accuracies[0]:.4f}; standard error of the best {noise:.4f}")  # fmt: skip
    print(f"{sum(a >= best - noise for a in accuracies)} runs are within one standard error of the best")
    print("method | at 15 % | at 30 %: mean (worst) | seeds within one standard error at 30 % | "
          "epochs until then: median, largest (all of the grid's if never)")  # fmt: skip
    for name, curves in content["curves"].items():
        at = {share: [best_at(curve, share * total) for curve in curves] for share in (0.15, 0.3)}
        within = sum(accuracy >= best - noise for accuracy in at[0.3])
        needed = [epochs_until(curve, best - noise) or total for curve in curves]
        print(f"{name} | {mean(at[0.15]):.4f} | {mean(at[0.3]):.4f} ({min(at[0.3]):.4f}) | {within} of {len(curves)} "
              f"| {median(needed):.0f} ({median(needed) / total:.0%} of the grid), {max(needed):.0f}")  # fmt: skip


def plot(data: Path, file: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    matplotlib.rcParams["svg.hashsalt"] = "crackdet"
    from matplotlib import pyplot

    content = json.loads(data.read_text())
    total, best = content["epochs"], content["accuracies"][-1]
    noise = (best * (1 - best) / content["valid_images"]) ** 0.5
    shares = [step / 200 for step in range(1, 121)]
    figure, axes = pyplot.subplots(figsize=(7.5, 4.5))
    for name in PLOTTED:
        columns = [[best_at(curve, share * total) for curve in content["curves"][name]] for share in shares]
        (line,) = axes.plot([100 * s for s in shares], [mean(column) for column in columns], label=name, linewidth=2)
        worst = [min(column) for column in columns]
        axes.plot([100 * s for s in shares], worst, ":", color=line.get_color(), linewidth=1)
    axes.axhspan(best - noise, best, color="0.85", zorder=0, label="the grid's best, minus one standard error")
    axes.axvline(30, color="0.6", linewidth=0.8)
    axes.set(xlabel="epochs trained, % of the grid's", ylabel="best validation accuracy so far")
    axes.set(ylim=(best - 6 * noise, best + noise), xlim=(0, 45))
    axes.legend(loc="lower right", fontsize="small")
    axes.set_title(
        f"mean (lines) and worst (dots) of {len(content['curves'][PLOTTED[0]])} seeds of the sampler", fontsize="medium"
    )
    figure.tight_layout()
    figure.savefig(file, metadata={"Date": None})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("grid", "compare", "report"))
    parser.add_argument("--store", type=Path, default=ROOT / "outputs" / "study" / "runs")
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--plot", type=Path, default=ROOT / "docs" / "search.svg")
    arguments = parser.parse_args()
    if arguments.what == "grid":
        raise SystemExit(train_grid(arguments.store))
    data = arguments.store.parent / "study.json"
    if arguments.what == "compare":
        compare(arguments.store, arguments.seeds, data)
    report(data)
    plot(data, arguments.plot)


if __name__ == "__main__":
    main()
