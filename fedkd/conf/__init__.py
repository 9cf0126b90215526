"""Every setting of fedkd, as Hydra groups. A new thing is one YAML here and the file that its `_target_` names."""
