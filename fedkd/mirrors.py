"""No mirror images where a data set's classes are one another's.

    data.mirrors: false      # in the data set's YAML: a mirrored swipe to the left is a swipe to the right

Nets are chosen apart from data, and many are taught and examined on mirror images too. So the configuration loses them
as it is loaded, whatever nets are chosen, and what a run records of itself is what it did.
"""

from __future__ import annotations

from omegaconf import DictConfig, open_dict

SETTINGS = {
    "fedkd.data.skeleton_augment.SkeletonAugment": ("flip", 0.0),
    "fedkd.data.rgb.RgbAugment": ("flip", 0.0),
    "fedkd.data.glimpses.SkeletonGlimpses": ("mirror", False),
}
"""What makes mirror images -> the setting that asks for them, and its value that does not. Without it, they do."""

NOTHING_ELSE = ("fedkd.data.glimpses.MirrorGlimpses",)
"""What does nothing but that."""


def unmirrored(cfg: DictConfig) -> list[str]:
    """The nets that would have seen mirror images; where the data set allows none, `cfg` asks for none after this."""
    if cfg.data.get("mirrors", True):
        return []
    nets = {"student": cfg.student, "teacher": cfg.teacher}
    nets |= {f"{group}.{name}": node for group in ("students", "assistants") for name, node in cfg[group].items()}
    return [name for name, node in nets.items() if isinstance(node, DictConfig) and _changed(node)]


def _changed(node: DictConfig) -> bool:
    """Whether something below the node asked for mirror images; it does not any more."""
    changed = False
    for key, part in list(node.items_ex(resolve=False)):
        if not isinstance(part, DictConfig):
            continue
        if part.get("_target_") in NOTHING_ELSE:
            node[key] = None
            changed = True
        else:
            changed |= _changed(part)
    setting, without = SETTINGS.get(str(node.get("_target_")), ("", None))
    if setting and node.get(setting, True):
        with open_dict(node):
            node[setting] = without
        changed = True
    return changed
