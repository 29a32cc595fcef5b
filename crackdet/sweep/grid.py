"""The grid sweeper's work: overrides -> all runs of the grid -> those that are not finished -> summary.

A failing run is recorded and the sweep goes on; the summary always comes, after Ctrl-C too.
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

from crackdet.config.composing import explain_hydra_error
from crackdet.config.parsing import parse_runtime, parse_sweep
from crackdet.core.errors import UserError
from crackdet.core.signals import Interrupted
from crackdet.running.command_cache import JOB, CacheEntry, CommandCache, config_folders
from crackdet.running.job import Job, make_job
from crackdet.store.run import Run
from crackdet.store.snapshot import Status
from crackdet.store.sweep_record import SweepRecord
from crackdet.sweep.composition import CachedComposer
from crackdet.sweep.disk_usage import warn_of_room
from crackdet.sweep.execution.executor import Executor, exit_status, run_jobs
from crackdet.sweep.execution.factory import create_executor
from crackdet.sweep.execution.worker import SweepContext
from crackdet.sweep.finalize import finalize
from crackdet.sweep.selection import ExcludeFilter, is_sweep_setting, order_jobs, show_plan, zip_axes

log = logging.getLogger(__name__)

POLL = 1.0  # seconds between two looks at the runs of other processes


@dataclass(frozen=True)
class Finished:
    """A combination whose run is known to be finished: there is nothing to compose and nothing to do."""

    run: Run
    overrides: list[str]


def expand(
    overrides: Sequence[Override],
    points: Iterable[Sequence[Override]] = ((),),
    paired: Sequence[Any] = (),
) -> list[list[str]]:
    """The product of all choices and ranges, for each of the points; a point's settings win over the rest.

    `paired` are keys, or lists of keys, whose values go together: the first with the first.

    Raises:
        UserError: for an override that has no finite number of values, and for keys that cannot be paired.
    """
    combinations: list[list[str]] = []
    for point in points:
        settings: dict[str, list[str]] = {}
        for override in [*overrides, *point]:
            key = override.get_key_element()
            if is_sweep_setting(override):
                continue  # of the sweep as a whole
            if not override.is_sweep_override():
                settings[key] = [f"{key}={override.get_value_element_as_str()}"]
            elif override.is_discrete_sweep():
                settings[key] = [f"{key}={value}" for value in override.sweep_string_iterator()]
            else:
                raise UserError(
                    f"{override.input_line}: a grid needs single values, as in {key}=1,2,3 or range(1,4); "
                    "an interval is for a search: hydra/sweeper=crackdet_optuna"
                )
        combinations += [
            list(itertools.chain(*combination)) for combination in itertools.product(*zip_axes(settings, paired))
        ]
    return combinations


def sweep(
    arguments: Sequence[str],
    points: Sequence[Sequence[str]],
    context: HydraContext,
    config: DictConfig,
    launcher: Launcher,
) -> None:
    """Runs the grid of these overrides; leaves with the exit status that says whether all went well.

    Raises:
        UserError: where combinations are invalid; all of them are named, and nothing has been trained.
    """
    settings = parse_sweep(config)
    parser = OverridesParser.create(config_loader=context.config_loader)
    combinations = expand(
        parser.parse_overrides(list(arguments)),
        [parser.parse_overrides(list(point)) for point in points] or [()],
        settings.zip,
    )
    directory = Path(config.hydra.sweep.dir)
    jobs = plan_all(combinations, context, config, ExcludeFilter(settings.exclude), remembering=not settings.dry_run)
    if settings.dry_run:
        show_plan([job for job in jobs if isinstance(job, Job)], settings.order)
        return
    if not jobs:
        raise UserError("sweep.exclude leaves nothing to train")
    stores = sorted({str(root.resolve()) for root in {job.run.root for job in jobs}})
    if len(stores) > 1:
        raise UserError(f"runtime.store: the runs of a sweep are in one store, not in {', '.join(stores)}")
    record = SweepRecord(directory)
    record.make(jobs[0].run.root)
    for job in jobs:
        record.add(job.run, job.overrides)
    OmegaConf.save(config, directory / "multirun.yaml")
    todo = [job for job in jobs if isinstance(job, Job) and not job.is_finished()]
    log.info("%d runs, %d of them already finished", len(jobs), len(jobs) - len(todo))
    status = train_all(todo, len(jobs), settings.order, config, launcher) if todo else 0
    keep_weights = config.runtime.keep_weights if todo else "all"
    finalize(directory, status, settings.report and bool(todo), keep_weights)  # nothing new: nothing to report


def train_all(todo: Sequence[Job], total: int, order: str, config: DictConfig, launcher: Launcher) -> int:
    """Checks the jobs, trains them and, where that is wished, waits for those of others; a status as `run_jobs`.

    Raises:
        UserError: where one cannot be trained; then none was.
    """
    runtime = parse_runtime(config)
    crew = create_executor(launcher, runtime, SweepContext(Path(config.hydra.sweep.dir)), most=len(todo))
    try:
        with crew:
            check_all(todo)
            warn_of_room(todo)
            status = run_jobs(order_jobs(todo, order), total, crew)
            others = [job for job in todo if job.run.status() is Status.RUNNING]
            if status < 128 and others and runtime.wait_for_others:
                log.info("waiting for %d runs in other processes", len(others))
                status = max(status, wait(others, crew))
    except (KeyboardInterrupt, Interrupted) as stop:
        status = exit_status(stop)
    return status


def plan_all(
    combinations: Sequence[list[str]],
    context: HydraContext,
    config: DictConfig,
    excluded: ExcludeFilter,
    remembering: bool = True,
) -> list[Job | Finished]:
    """The run of each combination that is not excluded, each run once.

    Those that are known to be finished are not composed again, unless there is more to ask of them.
    """
    composer = CachedComposer(context.config_loader, config)
    hydra = config.hydra
    memo = CommandCache(config_folders(hydra.runtime.config_sources), f"{JOB} {hydra.job.config_name}")
    jobs: dict[str, Job | Finished] = {}
    meanings: list[CacheEntry] = []
    problems: list[str] = []
    fingerprints: dict[str, str] = {}  # the data is listed once, not for each combination
    for overrides in combinations:
        try:
            if remembering and not excluded.asks and (known := memo.get(overrides)):
                jobs.setdefault(known.id, Finished(known, overrides))
                continue
            composed = composer.compose(overrides)
            if excluded(composed):
                continue
            job = make_job(composed, overrides, fingerprints)
            meanings.append(job.meaning(composed))
        except UserError as error:
            problems.append(f"{' '.join(overrides)}\n    {error}")
        except (HydraException, OmegaConfBaseException) as error:
            problems.append(f"{' '.join(overrides)}\n    {explain_hydra_error(error)}")
        else:
            jobs.setdefault(job.run.id, job)
    _refuse(problems, len(combinations))
    excluded.finish()
    memo.put(meanings)
    return list(jobs.values())


def check_all(jobs: Sequence[Job]) -> None:
    """Builds every network without computing, and reads the data, before the first run begins."""
    from crackdet.running.train_run import load_data, validate  # imports torch: seconds

    read: set[str] = set()  # data that was found good
    problems: dict[str, list[str]] = {}
    alike: dict[str, list[Job]] = {}
    for job in jobs:
        alike.setdefault(repr((job.config.model, job.config.data)), []).append(job)
    for same in alike.values():
        config = same[0].config
        try:
            if (data := repr(config.data)) in read:
                validate(config)
            else:
                load_data(config, same[0].identity)
                read.add(data)
        except UserError as error:
            problems.setdefault(str(error), []).extend(" ".join(job.overrides) for job in same)
    listed = ["\n  ".join(combinations) + f"\n    {error}" for error, combinations in problems.items()]
    _refuse(listed, len(jobs), sum(map(len, problems.values())))


def wait(jobs: Sequence[Job], crew: Executor) -> int:
    """Waits for runs that other processes hold, and trains those whose process dies; a status as `run_jobs`."""
    left, status = list(jobs), 0
    while left:
        crew.idle(POLL)
        orphaned = [job for job in left if job.run.status() in (Status.TODO, Status.INTERRUPTED)]
        status = max(status, run_jobs(orphaned, len(orphaned), crew))
        if status >= 128:  # stopped
            return status
        tried = {job.run.id for job in orphaned}
        left = [job for job in left if _is_awaited(job.run.status(), job.run.id in tried)]
    return status


def _is_awaited(status: Status, tried: bool) -> bool:
    """Whether somebody trains it, or did until a moment ago; what has just been tried here is left as it is."""
    return status is Status.RUNNING or (status in (Status.TODO, Status.INTERRUPTED) and not tried)


def _refuse(problems: Sequence[str], total: int, wrong: int | None = None) -> None:
    if problems:
        listed = "\n  ".join(problems)
        raise UserError(f"{wrong or len(problems)} of {total} combinations cannot be trained, so none was:\n  {listed}")
