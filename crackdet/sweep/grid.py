"""The grid sweeper's work: overrides -> all runs of the grid -> those that are not finished -> summary.

A failing run is recorded and the sweep goes on; the summary always comes, after Ctrl-C too.
"""

import itertools
import logging
import time
import traceback
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

from crackdet.compose import explain
from crackdet.config import parse_sweep
from crackdet.console import bar
from crackdet.errors import UserError
from crackdet.store import Run, Status
from crackdet.sweep.choosing import Excluded, axes, is_of_sweep, ordered, show_plan
from crackdet.sweep.composition import Composer
from crackdet.sweep.finish import finish
from crackdet.sweep.job import Job, plan
from crackdet.sweep.memo import JOB, Meaning, Memo, config_folders
from crackdet.sweep.record import SweepRecord

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
            if is_of_sweep(override):
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
            list(itertools.chain(*combination)) for combination in itertools.product(*axes(settings, paired))
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
    jobs = plan_all(combinations, context, config, Excluded(settings.exclude), remembering=not settings.plan)
    if settings.plan:
        show_plan([job for job in jobs if isinstance(job, Job)], settings.order)
        return
    record = SweepRecord(directory)
    for job in jobs:
        record.add(job.run, job.overrides)
    OmegaConf.save(config, directory / "multirun.yaml")
    todo = [job for job in jobs if isinstance(job, Job) and not job.is_finished()]
    log.info("%d runs, %d of them already finished", len(jobs), len(jobs) - len(todo))
    try:
        if todo:
            check_all(todo)
            todo = ordered(todo, settings.order)
        status = launch(todo, len(jobs), launcher)
    except KeyboardInterrupt:
        status = 130
    if status < 128:
        others = [job for job in todo if Run(job.run.directory).status() is Status.RUNNING]
        if others and others[0].config.runtime.wait_for_others:
            log.info("waiting for %d runs in other processes", len(others))
            status = max(status, wait(others, launcher))
    finish(directory, status)


def plan_all(
    combinations: Sequence[list[str]],
    context: HydraContext,
    config: DictConfig,
    excluded: Excluded,
    remembering: bool = True,
) -> list[Job | Finished]:
    """The run of each combination that is not excluded, each run once.

    Those that are known to be finished are not composed again, unless there is more to ask of them.
    """
    composer = Composer(context.config_loader, config)
    hydra = config.hydra
    memo = Memo(config_folders(hydra.runtime.config_sources), f"{JOB} {hydra.job.config_name}")
    jobs: dict[str, Job | Finished] = {}
    meanings: list[Meaning] = []
    problems: list[str] = []
    fingerprints: dict[str, str] = {}  # the data is listed once, not for each combination
    for overrides in combinations:
        try:
            if remembering and not excluded.asks and (known := memo.recall(overrides)):
                jobs.setdefault(known.id, Finished(known, overrides))
                continue
            composed = composer.compose(overrides)
            if excluded(composed):
                continue
            job = plan(composed, overrides, fingerprints)
            meanings.append(job.meaning(composed))
        except UserError as error:
            problems.append(f"{' '.join(overrides)}\n    {error}")
        except (HydraException, OmegaConfBaseException) as error:
            problems.append(f"{' '.join(overrides)}\n    {explain(error)}")
        else:
            jobs.setdefault(job.run.id, job)
    _refuse(problems, len(combinations))
    excluded.finish()
    memo.remember(meanings)
    return list(jobs.values())


def check_all(jobs: Sequence[Job]) -> None:
    """Builds every network without computing, and reads the data, before the first run begins."""
    from crackdet.training.run import prepare  # imports torch: seconds

    problems: dict[str, list[str]] = {}
    alike: dict[str, list[Job]] = {}
    for job in jobs:
        alike.setdefault(repr((job.config.model, job.config.data)), []).append(job)
    for same in alike.values():
        try:
            prepare(same[0].config)
        except UserError as error:
            problems.setdefault(str(error), []).extend(" ".join(job.overrides) for job in same)
    listed = ["\n  ".join(combinations) + f"\n    {error}" for error, combinations in problems.items()]
    _refuse(listed, len(jobs), sum(map(len, problems.values())))


def launch(jobs: Sequence[Job], total: int, launcher: Launcher, first: int = 0) -> int:
    """Gives the jobs to Hydra's launcher; an exit status: 0, 1 where one failed, 128 + signal where it was stopped.

    `first` is the number of the first job, after which Hydra names the folder of its logs.
    """
    from crackdet.training.interrupt import Interrupted

    one_by_one = type(launcher).__name__ == "BasicLauncher"
    batches = [[job] for job in jobs] if one_by_one else [list(jobs)] * bool(jobs)
    number, failed = first, 0
    with bar("runs", total, done=total - len(jobs)) as runs:
        for batch in batches:
            try:
                returns = launcher.launch([job.overrides for job in batch], initial_job_idx=number)
                for job_return in returns:
                    error = getattr(job_return, "_return_value", None)
                    if isinstance(error, Exception):
                        failed = 1
                        log.error("%s", error)
            except (KeyboardInterrupt, Interrupted) as stop:
                return getattr(stop, "exit_status", 130)
            except Exception:  # of a launcher: what it had finished stands in the store
                failed = 1
                log.error("%s", traceback.format_exc())
            number += len(batch)
            runs.advance(len(batch))
    return failed


def wait(jobs: Sequence[Job], launcher: Launcher) -> int:
    """Waits for runs that other processes hold, and trains those whose process dies; a status as `launch`."""
    left = list(jobs)
    while left:
        time.sleep(POLL)
        ended = [job for job in left if Run(job.run.directory).status() is not Status.RUNNING]
        orphaned = [job for job in ended if Run(job.run.directory).status() in (Status.TODO, Status.INTERRUPTED)]
        if status := launch(orphaned, len(orphaned), launcher):
            return status
        left = [job for job in left if job not in ended]
    return 0


def _refuse(problems: Sequence[str], total: int, wrong: int | None = None) -> None:
    if problems:
        listed = "\n  ".join(problems)
        raise UserError(f"{wrong or len(problems)} of {total} combinations cannot be trained, so none was:\n  {listed}")
