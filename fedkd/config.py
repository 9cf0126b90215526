"""The border to Hydra: overrides in, a checked configuration out (`fedkd.rules`); `fedkd.build` makes what it names.

    cfg = load(["experiment=demo", "seed=3"])

Only the doors (the two apps and the command line) call this module; nothing inside takes a `cfg`.
"""

from __future__ import annotations

import itertools
import os
import shlex
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path

from hydra import compose, initialize_config_module
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import ConfigAttributeError, ConfigKeyError, OmegaConfBaseException

from fedkd.errors import UserError, remark
from fedkd.mirrors import unmirrored
from fedkd.rules import refuse_idle, refuse_other_kinds, refuse_unworkable

FIRST_WORD = 5
"""The round after which views speak where nobody says otherwise; in a shorter run, the last but one."""

_ENVIRONMENT = ("FEDKD_DATA", "FEDKD_PREPARED")
"""What the YAML files look up in it; a notebook may well set one of them after its first `load`."""

_LOCK = threading.Lock()


def load(overrides: Sequence[str]) -> DictConfig:
    """The configuration for these overrides, checked; `UserError` in one sentence when it cannot be.

    Hydra keeps one global instance a process; the lock and the fresh instance let client threads compose as well.
    """
    return _load(tuple(overrides), tuple(map(os.environ.get, _ENVIRONMENT)))


@lru_cache(maxsize=64)
def _load(overrides: tuple[str, ...], _environment: tuple[str | None, ...]) -> DictConfig:
    defaults = _own_defaults()
    with _composed(overrides) as cfg:
        refuse_other_kinds(cfg, defaults)
        if cfg.speak_after is None:
            cfg.speak_after = max(1, min(FIRST_WORD, cfg.rounds - 1))
        OmegaConf.resolve(cfg)
        if changed := unmirrored(cfg):
            remark(
                f"some classes of {cfg.data._target_.rpartition('.')[2]} are others' mirror images, so these see none: "
                f"{', '.join(changed)} (data.mirrors=true lets them)"
            )
    OmegaConf.set_readonly(cfg, True)
    refuse_unworkable(cfg)
    refuse_idle(cfg, defaults)
    return cfg


def _own_defaults() -> DictConfig:
    """config.yaml's own values, but for those that are looked up elsewhere."""
    yaml = OmegaConf.to_container(OmegaConf.create(source("config")))
    assert isinstance(yaml, dict)
    return OmegaConf.create({key: value for key, value in yaml.items() if key not in ("defaults", "name", "data_dir")})


@contextmanager
def _composed(overrides: Sequence[str], **how: bool) -> Iterator[DictConfig]:
    """What Hydra makes of overrides; what it says against them, in one sentence."""
    with _LOCK:
        before = GlobalHydra.instance().hydra
        GlobalHydra.instance().clear()
        try:
            with initialize_config_module("fedkd.conf", version_base="1.3"):
                yield compose("config", overrides=list(overrides), **how)
        except (HydraException, OmegaConfBaseException) as error:
            raise UserError(_sentence(error)) from error
        finally:
            GlobalHydra.instance().hydra = before


def choices(overrides: Sequence[str]) -> dict[str, str]:
    """The option of each group that overrides choose, e.g. ``{"strategy": "distil", ..}``."""
    with _composed(overrides, return_hydra_config=True) as cfg:
        return dict(cfg.hydra.runtime.choices)


def expand(overrides: Sequence[str]) -> Iterator[list[str]]:
    """Every combination that a sweep such as ``["seed=0,1", "strategy=alone,distil"]`` names, in the order given."""
    try:
        parsed = OverridesParser.create().parse_overrides(list(overrides))
    except HydraException as error:
        raise UserError(_sentence(error)) from error
    choices = [
        [f"{override.get_key_element()}={value}" for value in override.sweep_string_iterator()]
        if override.is_sweep_override()
        else [override.input_line or ""]
        for override in parsed
    ]
    return (list(combination) for combination in itertools.product(*choices))


def options(group: str) -> list[str]:
    """The names of a group's YAML files, e.g. ``options("strategy")``."""
    return sorted(path.stem for path in (Path(__file__).parent / "conf" / group).glob("*.yaml"))


def source(name: str) -> str:
    """A YAML file of conf/ as it stands, comments and all, e.g. ``source("config")``, ``source("loss/kd")``."""
    return (Path(__file__).parent / "conf" / f"{name}.yaml").read_text(encoding="utf-8")


def as_string(overrides: Sequence[str]) -> str:
    """Overrides as one string, the form in which Flower's run config carries them."""
    return shlex.join(overrides)


def from_string(overrides: str) -> list[str]:
    """The overrides in such a string."""
    try:
        return shlex.split(overrides)
    except ValueError as error:
        raise UserError(f"expected overrides such as 'rounds=3 seed=1', got {overrides!r}: {error}.") from error


def _sentence(error: Exception) -> str:
    """The part of Hydra's message that tells a user what was wrong."""
    help = "(fedkd run --help lists what can be set)"
    if isinstance(error.__cause__, ConfigKeyError | ConfigAttributeError):
        return f"unknown setting '{error.__cause__.full_key}' {help}"
    text = " ".join(line.strip() for line in str(error).splitlines() if line.strip())
    return f"{text.split(' Config search path')[0].split(' See https://hydra.cc')[0]} {help}"
