"""The overhead of a search: seconds to start and seconds per trial, with 1,000 finished runs in the store.

    python benchmarks/search_overhead.py [--runs 1000] [--trials 50] [--sampler TPESampler]

The runs are written without training; everything else is as in a search: read the store, ask, check the suggestion,
tell.
"""

import argparse
import json
import random
import tempfile
import time
from pathlib import Path

import optuna
from hydra import initialize_config_dir
from hydra._internal.callbacks import Callbacks
from hydra.core.global_hydra import GlobalHydra
from hydra.types import HydraContext, RunMode

from crackdet.config.composing import CONF
from crackdet.config.groups import register
from crackdet.core.files import write_csv, write_json
from crackdet.store.run import Run
from crackdet.store.run_store import RunStore
from crackdet.sweep.search.history import History
from crackdet.sweep.search.job_factory import JobFactory
from crackdet.sweep.search.objectives import Objective
from crackdet.sweep.search.proposer import Proposer
from crackdet.sweep.search.pruning import HistoryPruner, PruningSpec
from crackdet.sweep.search.samplers import Sampler
from crackdet.sweep.search.space_builder import build_space
from crackdet.sweep.search.study_sync import StudySync
from crackdet.sweep.selection import ExcludeFilter

SPACE = [
    "model.conv_out=[16,32],[32,64],[64,128],[16,32,64]",
    "model.linear_features=range(32,1025,32)",
    "optimizer.learning_rate=tag(log,interval(1e-5,1e-1))",
]
EPOCHS = 25
MEDIAN = {"_target_": "optuna.pruners.MedianPruner"}


def publish(run: Run, identity: str, accuracy: float) -> None:
    """Write a finished run, without weights and predictions."""
    run.directory.mkdir(parents=True, exist_ok=True)
    write_json(run.identity_file, json.loads(identity))
    rows = [{"epoch": epoch, "valid_accuracy": accuracy * epoch / EPOCHS} for epoch in range(1, EPOCHS + 1)]
    write_csv(run.history_file, rows)
    run.publish({"accuracy": accuracy, "loss": 1 - accuracy, "epoch": EPOCHS, "parameters": 1, "seconds": 1.0})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=1000)
    parser.add_argument("--trials", type=int, default=50)
    parser.add_argument("--sampler", default="TPESampler")
    arguments = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    register()
    rng = random.Random(0)
    with tempfile.TemporaryDirectory() as folder, initialize_config_dir(str(CONF)):
        store = RunStore(Path(folder) / "runs")
        overrides = [f"runtime.store={store.root}", f"runtime.cache={folder}/cache", "runtime.device=cpu"]
        loader = GlobalHydra.instance().config_loader()
        config = loader.load_configuration("config", overrides, run_mode=RunMode.MULTIRUN)
        context = HydraContext(config_loader=loader, callbacks=Callbacks())
        job_factory = JobFactory(context, config, ExcludeFilter(None))
        space = build_space([*overrides, *SPACE], {}, context, job_factory)
        study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
        for _ in range(arguments.runs):
            job = job_factory.job(space.overrides(space.suggest(study.ask())))
            publish(job.run, job.identity.canonical, rng.random())

        start = time.perf_counter()
        objectives = [Objective("accuracy", "maximize")]
        history, study_sync = History(store, space, objectives), StudySync(objectives)
        sampler = Sampler({"_target_": f"optuna.samplers.{arguments.sampler}", "seed": 0})
        proposer = Proposer(study_sync, history, job_factory, sampler)
        history.refresh()
        study_sync.tell(history)
        assert len(history.complete_trials()) == arguments.runs
        print(f"Optuna {optuna.__version__}, {arguments.sampler}, {arguments.runs} finished runs")
        print(f"to start: {time.perf_counter() - start:.2f} s")

        times = []
        for _ in range(arguments.trials):
            start = time.perf_counter()
            suggestion = proposer.propose()
            assert suggestion is not None and suggestion.asked is not None
            times.append(time.perf_counter() - start)
            (job,) = suggestion.jobs.values()
            publish(job.run, job.identity.canonical, rng.random())  # instead of training; not timed
            start = time.perf_counter()
            history.add(suggestion.params, "", job.run)
            study_sync.begin(suggestion)
            history.refresh()
            study_sync.tell(history)
            times[-1] += time.perf_counter() - start
        times = sorted(times[1:])  # the first trial imports torch
        print(f"a trial: median {1000 * times[len(times) // 2]:.1f} ms, largest {1000 * times[-1]:.1f} ms")

        pruner = HistoryPruner(PruningSpec(space, objectives[0], EPOCHS), store, MEDIAN)
        run, rows = store.run("custom-000000000000"), [{"epoch": 1, "valid_accuracy": 0.5}]
        start = time.perf_counter()
        pruner.prune_reason(run, rows)
        first = time.perf_counter() - start
        times = []
        for _ in range(20):
            start = time.perf_counter()
            pruner.prune_reason(run, rows)
            times.append(time.perf_counter() - start)
        print(f"a decision of the pruner: first {first:.2f} s, then {1000 * sorted(times)[10]:.1f} ms")


if __name__ == "__main__":
    main()
