"""The border to Hydra: overrides in, a checked configuration out, and plain objects built from it.

    cfg = load(["experiment=demo", "seed=3"])

Only the doors (the two apps and the command line) call this module; nothing inside takes a `cfg`.
"""

from __future__ import annotations

import inspect
import itertools
import os
import shlex
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_module
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException, InstantiationException
from hydra.utils import get_object, instantiate
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import ConfigAttributeError, ConfigKeyError, OmegaConfBaseException

from fedkd.errors import UserError, remark
from fedkd.mirrors import unmirrored
from fedkd.ranges import refuse_out_of_range

TRUSTED = ("fedkd.", "strategies.", "clients.", "simulations.", "torch.nn.", "torchvision.models.")
"""Where a `_target_` may point, and where what it names must be defined: a setting is no way to run anything else."""

FIRST_WORD = 5
"""The round after which views speak where nobody says otherwise; in a shorter run, the last but one."""

_LOCK = threading.Lock()


def load(overrides: Sequence[str]) -> DictConfig:
    """The configuration for these overrides, checked; `UserError` in one sentence when it cannot be.

    Hydra keeps one global instance a process; the lock and the fresh instance let client threads compose as well.
    """
    return _load(tuple(overrides), os.environ.get("FEDKD_DATA"))


@lru_cache(maxsize=64)
def _load(overrides: tuple[str, ...], _data: str | None) -> DictConfig:
    with _composed(overrides) as cfg:
        _check_kinds(cfg)
        if cfg.speak_after is None:
            cfg.speak_after = max(1, min(FIRST_WORD, cfg.rounds - 1))
        OmegaConf.resolve(cfg)
        if changed := unmirrored(cfg):
            remark(
                f"classes of {cfg.data._target_.rpartition('.')[2]} are mirror images of one another, so that "
                f"{' and '.join(changed)} see none (data.mirrors=true lets them)"
            )
    OmegaConf.set_readonly(cfg, True)
    _check(cfg)
    return cfg


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


def build(node: DictConfig, **arguments: Any) -> Any:
    """The object that a node's `_target_` names, with its own and these arguments."""
    for part in _parts(node):
        made = _trusted(part)
        _check_arguments(part["_target_"], made, part)
    try:
        return instantiate(node, **arguments)
    except InstantiationException as error:
        if isinstance(error.__cause__, UserError):
            raise error.__cause__ from error  # Hydra wraps what a constructor says
        if isinstance(error.__cause__, ValueError):
            raise UserError(f"{node['_target_'].rpartition('.')[2]} cannot be made: {error.__cause__}") from error
        raise


def _parts(node: DictConfig) -> Iterator[DictConfig]:
    """The node and every node below it that names a `_target_`."""
    yield node
    for child in node.values():
        if isinstance(child, DictConfig) and "_target_" in child:
            yield from _parts(child)


def _trusted(node: DictConfig) -> Any:
    """What a node's `_target_` names, if it may."""
    target = str(node.get("_target_", ""))
    if target.startswith(TRUSTED):
        made = get_object(target)
        if f"{getattr(made, '__module__', '')}.".startswith(TRUSTED):
            return made
    raise UserError(
        f"expected a _target_ under {', '.join(TRUSTED)} got '{target}'; use something defined in this project."
    )


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


_KINDS: dict[str, tuple[type, ...]] = {"int": (int,), "float": (int, float), "bool": (bool,), "str": (str,)}


def _check_arguments(target: str, made: Any, node: DictConfig) -> None:
    """Refuse what a constructor does not have, a number where its annotation asks for a word, and so on."""
    parameters, what = inspect.signature(made).parameters, target.rpartition(".")[2]
    strangers = [str(name) for name in node if name not in parameters and not str(name).startswith("_")]
    if strangers and not any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values()):
        raise UserError(
            f"{what} has no setting {', '.join(strangers)}; drop what sets it, or undo it as ~data.depth does."
        )
    for name, parameter in parameters.items():
        kind = str(parameter.annotation)
        if kind in _KINDS and node.get(name) is not None:
            _check_kind(f"{what}'s {name}", kind, node[name])


def _check_kind(name: str, kind: str, value: Any) -> None:
    if not isinstance(value, _KINDS[kind]) or (isinstance(value, bool) and kind != "bool"):
        raise UserError(f"{name} must be {'an' if kind == 'int' else 'a'} {kind}, got {value!r}.")


def _check_defaults(cfg: DictConfig, defaults: DictConfig, prefix: str = "") -> None:
    """Refuse a value of another kind than config.yaml's own."""
    for name, default in ((str(key), value) for key, value in defaults.items()):
        if isinstance(default, DictConfig):
            _check_defaults(cfg[name], default, f"{prefix}{name}.")
        elif type(default).__name__ in _KINDS:
            _check_kind(f"{prefix}{name}", type(default).__name__, cfg[name])


def _check_kinds(cfg: DictConfig) -> None:
    """Refuse a number where config.yaml has a word, and so on."""
    yaml = OmegaConf.to_container(OmegaConf.create(source("config")))
    assert isinstance(yaml, dict)
    own = OmegaConf.create(
        {name: value for name, value in yaml.items() if name not in ("defaults", "name", "data_dir")}
    )
    _check_defaults(cfg, own)


def _plain(cfg: DictConfig) -> bool:
    """Whether there is one kind of teacher and one of student, who teach without further words."""
    return not (cfg.assistants or cfg.students or cfg.guidance.get("_target_")) and bool(cfg.teaching.paired)


def _check(cfg: DictConfig) -> None:
    """Refuse what cannot work, before anything is read or written."""
    refuse_out_of_range(cfg)
    teaches = cfg.strategy.teacher and cfg.teacher.model is not None
    online = cfg.teaching.origin == "online"
    rules = [
        (
            bool(cfg.name) and not set("/\\\0") & set(str(cfg.name)) and cfg.name not in (".", ".."),
            f"name is one folder under results_dir, without / or .., got {cfg.name!r}.",
        ),
        (bool(cfg.results_dir), "results_dir must name a folder, got ''; leave it out for results."),
        (
            "first" not in cfg.strategy.exchange or cfg.speak_after < cfg.rounds,
            f"strategy={cfg.strategy.name} needs speak_after below rounds, got {cfg.speak_after} of {cfg.rounds}: "
            "nobody would hear what is said; set rounds= or speak_after=.",
        ),
        (cfg.split in ("test", "valid"), f"split must be test or valid, got {cfg.split!r}."),
        (
            cfg.teaching.origin in ("local", "federated", "lab", "file", "online"),
            f"teaching.origin must be local, federated, lab, file or online, got {cfg.teaching.origin!r}.",
        ),
        (
            not online or (teaches and not cfg.assistants and cfg.teaching.paired and not cfg.objective.pseudo),
            "teaching.origin=online needs strategy.teacher=true and one teacher=, no assistants, teaching.paired=true "
            "and objective.pseudo=0.",
        ),
        (
            not cfg.strategy.apart or online or (_plain(cfg) and teaches),
            f"strategy={cfg.strategy.name} needs one teacher= and one student=: no assistants, students or guidance, "
            "and teaching.paired=true.",
        ),
        (
            not (online or cfg.strategy.apart)
            or not any(net.get("schooling", {}).get("mixup") for net in (cfg.student, cfg.teacher)),
            f"teaching.origin={cfg.teaching.origin} with strategy={cfg.strategy.name} does not mix clips, its batches "
            "are of events; set student.schooling.mixup=0 and teacher.schooling.mixup=0.",
        ),
        (
            cfg.teaching.origin in ("local", "online") or cfg.teacher.model is not None,
            f"teaching.origin={cfg.teaching.origin} needs a teacher, but there is none; set teacher= or "
            "teaching.origin=local.",
        ),
        (
            not teaches or cfg.teaching.origin != "file" or cfg.teaching.file is not None,
            "teaching.origin=file needs teaching.file=<weights.safetensors>.",
        ),
        (
            not (cfg.strategy.pool and teaches) or cfg.teaching.origin != "federated",
            "strategy=central has no views to federate a teacher over; use teaching.origin=local, lab or file.",
        ),
        (
            not cfg.students or not cfg.strategy.common_start,
            f"strategy={cfg.strategy.name} has one net for all views, but students names {', '.join(cfg.students)}; "
            "leave students out, or choose another strategy.",
        ),
        (
            not (cfg.assistants and cfg.strategy.teacher) or cfg.teacher.model is not None,
            f"assistants {', '.join(cfg.assistants)} need a teacher before them; set teacher=.",
        ),
        ("teacher" not in cfg.assistants, "an assistant cannot be called teacher; that is the first one's name."),
    ]
    for holds, sentence in rules:
        if not holds:
            raise UserError(sentence)
