"""Settings that only some of a sweep's options have: with `model=custom,resnet18`, `model.conv_out`.

Such a setting is left out where it does not apply. A setting that none of the options has is left in, so that composing
the configuration reports it.
"""

import logging
import re
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress

from hydra.core.override_parser.types import Override, OverrideType
from hydra.errors import HydraException
from omegaconf.errors import OmegaConfBaseException

from crackdet.config.groups import GROUPS
from crackdet.sweep.composition import CachedComposer, Composition

log = logging.getLogger(__name__)


def apply_where_possible(combinations: Sequence[list[str]], composer: CachedComposer) -> list[list[str]]:
    """Return the different combinations, each with the settings that its options have; log what is left out."""
    split = [composer.split(overrides) for overrides in combinations]
    choices = list(dict.fromkeys(chosen for chosen, _ in split))
    keys = _keys_to_check(choices, {value.key_or_group: value for _, values in split for value in values})
    if not keys:
        return list(combinations)
    compositions = _compose(choices, composer)
    owners = {key: [one for one in compositions.values() if one.has(key)] for key in keys}
    left_out: dict[str, list[Composition]] = {}
    applied: dict[tuple[str, ...], None] = {}
    for overrides, (chosen, values) in zip(combinations, split, strict=True):
        texts = list(overrides)
        if composition := compositions.get(chosen):
            for value in values:
                key, text = value.key_or_group, str(value.input_line)
                if owners.get(key) and not composition.has(key):
                    left_out[key] = owners[key]
                    texts.remove(text)
                elif key in owners and composition.must_add(key):
                    texts[texts.index(text)] = f"+{text}"
        applied[tuple(texts)] = None
    if left_out:
        fewer = f"; {len(combinations)} combinations are reduced to {len(applied)}"
        log.info("%s%s", explain(left_out), fewer if len(applied) < len(combinations) else "")
    return [list(texts) for texts in applied]


def explain(owners: Mapping[str, Iterable[Composition]]) -> str:
    """Return which options have each setting: `model.conv_out applies to model=custom only`."""
    sentences = []
    for key, compositions in owners.items():
        group = key.partition(".")[0]
        options = dict.fromkeys(f"{group}={composition.options[group]}" for composition in compositions)
        sentences.append(f"{key} applies to {' and '.join(options)} only")
    return ", ".join(sentences)


def _keys_to_check(choices: Sequence[Sequence[str]], values: Mapping[str, Override]) -> list[str]:
    """Return the settings that some of the choices may not have: those of the groups in which the choices differ."""
    shared = set.intersection(*map(set, choices))
    groups = {re.split("[/@=]", text.lstrip("+~"))[0] for chosen in choices for text in chosen if text not in shared}
    return [
        key
        for key, value in values.items()
        if value.type is OverrideType.CHANGE and (key.partition(".")[0] in groups or groups - GROUPS.keys())
    ]


def _compose(choices: Iterable[tuple[str, ...]], composer: CachedComposer) -> dict[tuple[str, ...], Composition]:
    """Return what each choice gives, without those that Hydra refuses: these are reported when their jobs are made."""
    found = {}
    for chosen in choices:
        with suppress(HydraException, OmegaConfBaseException):
            found[chosen] = composer.composition(chosen)
    return found
