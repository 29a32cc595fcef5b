"""A trial of this search, from its suggestion to its end."""

from collections import deque
from dataclasses import dataclass, field
from functools import cached_property

from crackdet.running.job import Job
from crackdet.sweep.search.proposer import Suggestion
from crackdet.sweep.search.space import Key, Params, key_of


@dataclass
class ActiveTrial:
    """A suggestion whose runs are trained, seed by seed, since it may be pruned by its first."""

    suggestion: Suggestion
    now: str = ""  # the seed that is being trained
    left: deque[tuple[str, Job]] = field(init=False)

    def __post_init__(self) -> None:
        self.left = deque(self.suggestion.jobs.items())

    @property
    def params(self) -> Params:
        return self.suggestion.params

    @cached_property
    def key(self) -> Key:
        return key_of(self.params)

    @cached_property
    def run_ids(self) -> set[str]:
        return {job.run.id for job in self.suggestion.jobs.values()}
