"""Throughput, memory and overhead of real runs, against the article's loop, the best bare step and the lower bound."""

from collections.abc import Iterator
from typing import Any

from benchmarks.bench import LARGE, SMALL, Bench, Case, train
from benchmarks.lower_bound import lower_bound
from benchmarks.measurement import Measurement, median_of, run_loop

GOALS = {"resnext50": 4.0, "custom": 9.0}  # times the throughput of the article's loop


def measure_training(bench: Bench) -> Iterator[Measurement]:
    """Train each network by crackdet and by the loops that it is compared with."""
    for case in (*LARGE, SMALL):
        rows: dict[str, list[dict[str, Any]]] = {"article": [], "bare": [], "crackdet": [], "latency": []}
        options = {"network": case.network, "size": case.size, "batch": case.batch}
        for repeat in range(bench.repeats):
            if case is not SMALL:
                images = bench.training_images
                rows["article"].append(run_loop("article", bench.folder, images=images, steps=6, **options))
            steps = (60 if case is SMALL else 8) * bench.step_factor
            rows["bare"].append(run_loop("bare", bench.folder, steps=steps, **options))
            store, epochs = f"{case.network}-{case.size}-{repeat}", f"trainer.max_epochs={case.epochs}"
            _, (run,) = train(bench, bench.training_images, store, *case.overrides, epochs)
            rows["crackdet"].append({**run, "images_per_second": run["history"][-1]["images_per_second"]})
            rows["latency"].append(run_loop("latency", bench.folder, run_seconds=run["seconds"], **options))
        if rows["article"]:
            yield from _against_article(bench, case, rows)
        yield from _against_bare(case, rows)


def _against_article(bench: Bench, case: Case, rows: dict[str, list[dict[str, Any]]]) -> Iterator[Measurement]:
    ours, bare = median_of(rows["crackdet"], "images_per_second"), median_of(rows["bare"], "images_per_second")
    article = median_of(rows["article"], "images_per_second")
    bound = lower_bound(case.overrides, bench.machine, rows["bare"][0]["precision"])
    details = (
        f"{ours:.1f} and {article:.1f} images/s; arithmetic alone allows {bound.max_speedup(article, case.batch):.1f} x"
    )
    name, goal = f"training throughput, {case.name}", GOALS[case.network]
    yield Measurement(name, "the article's loop", goal, ours / article, details)
    if case.network == "resnext50":
        details = f"{case.batch / ours:.3g} and {case.batch / bare:.3g} s"
        yield Measurement(f"a step, {case.name}", "the best bare step", 1.3, bare / ours, details, at_most=True)
    baseline, ratio = "the lower bound by arithmetic and memory traffic", case.batch / ours / bound.seconds
    details = f"{case.batch / ours:.3g} s and {bound}"
    yield Measurement(f"a step, {case.name}", baseline, 1.4, ratio, details, at_most=True)


def _against_bare(case: Case, rows: dict[str, list[dict[str, Any]]]) -> Iterator[Measurement]:
    ours, bare = median_of(rows["crackdet"], "images_per_second"), median_of(rows["bare"], "images_per_second")
    details = f"{ours:.1f} and {bare:.1f} images/s, in {rows['bare'][0]['precision']}"
    baseline = "a bare loop over tensors in memory"
    yield Measurement(f"epoch throughput, {case.name}", baseline, 0.97, ours / bare, details)
    if all(run["peak_memory_mib"] is not None for run in rows["crackdet"]):  # None if the system does not report it
        peak, required = median_of(rows["crackdet"], "peak_memory_mib"), median_of(rows["bare"], "required_mib")
        bare_peak = median_of(rows["bare"], "peak_mib")
        details = f"{peak:.0f} and {required:.0f} MiB; {bare_peak:.0f} MiB in the bare loop"
        name, baseline = f"peak memory, {case.name}", "weights, gradients, Adam's state, one batch of activations"
        yield Measurement(name, baseline, 1.4, peak / required, details, at_most=True)
    latency, run = median_of(rows["latency"], "seconds"), median_of(rows["crackdet"], "seconds")
    name, baseline = f"measuring latency, {case.name}", f"the run, of {case.epochs} epochs"
    yield Measurement(name, baseline, 0.05, latency / run, f"{latency:.2f} and {run:.1f} s", at_most=True)
