"""What a configuration names, made: the object behind a node's `_target_`, which may point into this project only.

    data = build(load(["data=tiny"]).data)

Its doors are those of `fedkd.config`.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any

from hydra.errors import InstantiationException
from hydra.utils import get_object, instantiate
from omegaconf import DictConfig

from fedkd.errors import UserError, reason_of
from fedkd.rules import KINDS, refuse_other_kind

TRUSTED = ("fedkd.", "strategies.", "clients.", "simulations.", "torch.nn.", "torchvision.models.")
"""Where a `_target_` may point, and where what it names must be defined: a setting is no way to run anything else."""

OBJECTIONS = (ValueError, TypeError, AssertionError, ArithmeticError, RuntimeError)
"""How constructors, torch's among them, say that they cannot take a setting."""


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
        if isinstance(error.__cause__, OBJECTIONS):
            why = str(error.__cause__) if isinstance(error.__cause__, ValueError) else reason_of(error.__cause__)
            raise UserError(f"{node['_target_'].rpartition('.')[2]} cannot be made: {why}") from error
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
        if kind in KINDS and node.get(name) is not None:
            refuse_other_kind(f"{what}'s {name}", kind, node[name])
