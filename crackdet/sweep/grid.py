"""The grid sweep: overrides -> jobs -> those that are not finished -> summary.

A run that fails is recorded, and the sweep continues. The summary is always printed, after Ctrl-C too.
"""

import itertools
import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from crackdet.config.hydra_errors import explain_hydra_error
from crackdet.config.overrides import parse_overrides
from crackdet.config.parsing import parse_group
from crackdet.config.schema import Runtime, Sweep
from crackdet.core.errors import StoreError, UserError
from crackdet.core.files import OpenFolder
from crackdet.core.signals import Interrupted
from crackdet.running.command_cache import JOB, CacheEntry, CommandCache, config_folders
from crackdet.running.job import Job, make_job
from crackdet.store.run import Run
from crackdet.store.run_store import RunStore
from crackdet.store.snapshot import Status
from crackdet.store.sweep_record import SweepRecord
from crackdet.sweep.composition import CachedComposer
from crackdet.sweep.conditional import apply_where_possible
from crackdet.sweep.counting import check_combinations, num_single_values
from crackdet.sweep.disk_usage import warn_if_disk_is_short
from crackdet.sweep.execution.executor import Executor, exit_status, run_jobs
from crackdet.sweep.execution.factory import create_executor
from crackdet.sweep.execution.worker import SweepContext
from crackdet.sweep.finalize import finalize
from crackdet.sweep.screen import best_candidates, check_no_points
from crackdet.sweep.selection import ExcludeFilter, is_sweep_setting, order_jobs, zip_axes

log = logging.getLogger(__name__)

POLL_INTERVAL = 1.0  # seconds between two checks of the runs of other processes


@dataclass(frozen=True)
class FinishedJob:
    """A job that the command cache knows to be finished, so it is not composed."""

    run: Run
    overrides: list[str]


def expand(
    overrides: Sequence[Override], points: Iterable[Sequence[Override]] = ((),), zipped: Sequence[Any] = ()
) -> list[list[str]]:
    """Return the combinations of all values, for each of the points.

    Args:
        points: Lists of overrides; those of a point replace `overrides` of the same keys.
        zipped: Keys, or lists of keys, whose values are paired.

    Raises:
        UserError: If an override has no values, or infinitely or too many; or if keys cannot be zipped.
    """
    combinations: list[list[str]] = []
    total = 0
    for point in points:
        values: dict[str, list[str]] = {}
        for override in [*overrides, *point]:
            key = override.get_key_element()
            if is_sweep_setting(override):
                continue
            if not override.is_sweep_override():
                values[key] = [f"{key}={override.get_value_element_as_str()}"]
            elif num_single_values(override):
                values[key] = [f"{key}={value}" for value in override.sweep_string_iterator()]
        axes = zip_axes(values, zipped)
        total += check_combinations({axis[0][0].partition("=")[0]: len(axis) for axis in axes}, total)
        combinations += [list(itertools.chain(*combination)) for combination in itertools.product(*axes)]
    return combinations


def sweep(
    arguments: Sequence[str],
    points: Sequence[Sequence[str]],
    context: HydraContext,
    config: DictConfig,
    launcher: Launcher,
) -> None:
    """Train the grid of these overrides.

    Raises:
        UserError: If combinations are invalid. The message names all of them, and nothing is trained.
        SystemExit: If a run failed or the sweep was stopped.
    """
    settings: Sweep = parse_group("sweep", config.get("sweep"))
    parser = OverridesParser.create(config_loader=context.config_loader)
    overrides = parse_overrides(arguments, parser)
    check_no_points(points, settings)
    points = [one.overrides for one in best_candidates(settings, overrides, config, context)] or points
    combinations = expand(overrides, [parse_overrides(point, parser) for point in points] or [()], settings.zip)
    exclude = ExcludeFilter(settings.exclude)
    jobs = make_jobs(combinations, context, config, exclude, use_cache=not settings.dry_run)
    if settings.dry_run:
        from crackdet.sweep.dry_run import dry_run  # imports torch: seconds

        planned = [job for job in jobs if isinstance(job, Job)]
        validate_jobs(planned, read=False)
        dry_run(order_jobs(planned, settings.order))
        return
    if not jobs:
        raise UserError("sweep.exclude: excludes every combination; nothing is left to train")
    stores = sorted({str(root.resolve()) for root in {job.run.root for job in jobs}})
    if len(stores) > 1:
        raise UserError(f"runtime.store: all runs of a sweep need the same store, not {', '.join(stores)}")
    directory = Path(config.hydra.sweep.dir)
    record = SweepRecord(directory)
    record.make(jobs[0].run.root)
    for job in jobs:
        record.add(job.run, job.overrides)
    OmegaConf.save(config, directory / "multirun.yaml")
    todo, num_unusable = unfinished(jobs)
    log.info("%d runs, %d of them already finished", len(jobs), len(jobs) - len(todo) - num_unusable)
    status = _train(todo, len(jobs), settings.order, config, launcher) if todo else 0
    status = status or int(num_unusable > 0)
    keep_weights = config.runtime.keep_weights if todo else "all"
    finalize(directory, status, settings.report and bool(todo), keep_weights)  # no report if nothing was trained


def make_jobs(
    combinations: Sequence[list[str]],
    context: HydraContext,
    config: DictConfig,
    exclude: ExcludeFilter,
    use_cache: bool = True,
) -> list[Job | FinishedJob]:
    """Return the job of each combination that is not excluded, without duplicates.

    Args:
        use_cache: Whether runs that the command cache knows to be finished may be returned uncomposed.

    Raises:
        UserError: If combinations are invalid; the message names all of them.
    """
    composer = CachedComposer(context.config_loader, config)
    hydra = config.hydra
    cache = CommandCache(config_folders(hydra.runtime.config_sources), f"{JOB} {hydra.job.config_name}")
    combinations = apply_where_possible(combinations, composer)
    jobs: dict[str, Job | FinishedJob] = {}
    entries: list[CacheEntry] = []
    problems: list[str] = []
    fingerprints: dict[str, str] = {}  # so that each data set is listed once
    for overrides in combinations:
        try:
            if use_cache and not exclude.has_condition and (run := cache.get(overrides)):
                jobs.setdefault(run.id, FinishedJob(run, overrides))
                continue
            composed = composer.compose(overrides)
            if exclude(composed):
                continue
            job = make_job(composed, overrides, fingerprints)
            entries.append(job.cache_entry(composed))
        except UserError as error:
            problems.append(f"{' '.join(overrides)}\n    {error}")
        except (HydraException, OmegaConfBaseException) as error:
            problems.append(f"{' '.join(overrides)}\n    {explain_hydra_error(error)}")
        else:
            jobs.setdefault(job.run.id, job)
    _raise_for(problems, len(problems), len(combinations))
    exclude.raise_for_unknown_settings()
    cache.put(entries)
    return list(jobs.values())


def unfinished(jobs: Iterable[Job | FinishedJob]) -> tuple[list[Job], int]:
    """Return the jobs to train, and how many are left out because their run directory cannot be used."""
    todo, num_unusable = [], 0
    for job in jobs:
        try:
            if isinstance(job, Job) and not job.is_finished():
                todo.append(job)
        except StoreError as error:  # such as that of another user; the other runs are not concerned
            log.error("left out: %s", error)
            num_unusable += 1
    return todo, num_unusable


def _train(todo: Sequence[Job], total: int, order: str, config: DictConfig, launcher: Launcher) -> int:
    """Check and train the jobs, wait for other processes if the settings say so; return a status as `run_jobs`."""
    runtime: Runtime = parse_group("runtime", config.get("runtime"))
    store, directory = todo[0].run.root, Path(config.hydra.sweep.dir)
    RunStore(store).check_writable()
    executor = create_executor(launcher, runtime, SweepContext(directory), max_jobs=len(todo))
    try:
        with OpenFolder(store) as opened, OpenFolder(directory, "hydra.sweep.dir") as own, executor:
            executor.folders = (opened, own)
            validate_jobs(todo)
            warn_if_disk_is_short(todo)
            status = run_jobs(order_jobs(todo, order), total, executor)
            others = [job for job in todo if job.run.status() is Status.RUNNING]
            if status < 128 and others and runtime.wait_for_others:
                log.info("waiting for %d runs in other processes", len(others))
                status = max(status, wait_for_others(others, executor))
    except (KeyboardInterrupt, Interrupted) as stop:
        status = exit_status(stop)
    return status


def validate_jobs(jobs: Sequence[Job], read: bool = True) -> None:
    """Build every network on the meta device and read all data, before the first run starts.

    Args:
        jobs: The jobs.
        read: False: read no images and download no weights.

    Raises:
        UserError: If jobs cannot be trained; the message names all of them.
    """
    from crackdet.models.factory import validate_network  # imports torch: seconds
    from crackdet.running.preparation import load_data, validate
    from crackdet.training.optimizers import check_optimizer, optimizer_kind

    loaded: set[str] = set()
    problems: dict[str, list[str]] = {}
    distinct: dict[str, list[Job]] = {}
    for job in jobs:
        config = job.config
        kind = optimizer_kind(config.optimizer)
        distinct.setdefault(repr((config.model, config.data, config.trainer.batch_size, kind)), []).append(job)
    for group in distinct.values():
        config = group[0].config
        try:
            if not read:
                validate_network(config)
                check_optimizer(config.optimizer)
            elif (data := repr(config.data)) in loaded:
                validate(config)
            else:
                load_data(group[0])
                loaded.add(data)
        except UserError as error:
            problems.setdefault(str(error), []).extend(" ".join(job.overrides) for job in group)
    listed = ["\n  ".join(combinations) + f"\n    {error}" for error, combinations in problems.items()]
    _raise_for(listed, sum(map(len, problems.values())), len(jobs))


def wait_for_others(jobs: Sequence[Job], executor: Executor) -> int:
    """Wait for runs that other processes train, and train them here if such a process dies.

    Returns:
        An exit status as `run_jobs` returns it.
    """
    pending, status = list(jobs), 0
    while pending:
        executor.idle(POLL_INTERVAL)
        orphaned = [job for job in pending if job.run.status() in (Status.TODO, Status.INTERRUPTED)]
        status = max(status, run_jobs(orphaned, len(orphaned), executor))
        if status >= 128:  # stopped
            return status
        attempted = {job.run.id for job in orphaned}
        pending = [job for job in pending if _is_pending(job.run.status(), job.run.id in attempted)]
    return status


def _is_pending(status: Status, attempted: bool) -> bool:
    """Return whether another process trains the run or has just died; a run that was attempted here is not repeated."""
    return status is Status.RUNNING or (status in (Status.TODO, Status.INTERRUPTED) and not attempted)


def _raise_for(problems: Sequence[str], count: int, total: int) -> None:
    if problems:
        listed = "\n  ".join(problems)
        raise UserError(f"{count} of {total} combinations are invalid; nothing was trained:\n  {listed}")
