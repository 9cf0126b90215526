"""What a user sets is what a run gets, and what cannot be is refused in one sentence."""

import re
import warnings
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from fedkd import config
from fedkd.build import build
from fedkd.config import as_string, expand, from_string, load, options
from fedkd.errors import Remark, UserError
from simulations.cli import main

GROUPS = ("data", "student", "teacher", "loss", "guidance", "hint", "consensus", "strategy", "place", "experiment")


@pytest.mark.parametrize(("group", "option"), [(group, option) for group in GROUPS for option in options(group)])
def test_every_option_composes(group: str, option: str) -> None:
    needs = ["teacher=tcn"] if option == "together" or group in ("hint", "guidance") else []
    assert load([f"{group}={option}", *needs]) is not None


@pytest.mark.parametrize("strategy", options("strategy"))
@pytest.mark.parametrize("experiment", options("experiment"))
def test_every_experiment_takes_every_strategy(experiment: str, strategy: str) -> None:
    words = [f"experiment={experiment}", f"strategy={strategy}"]
    if load([f"experiment={experiment}"]).students and strategy == "fedavg":
        with pytest.raises(UserError, match="one net for all views, but students names"):
            load(words)
        return
    if strategy == "together" and experiment not in ("cmd_mv", "demo", "nw_ucla_new_camera", "online"):
        with pytest.raises(UserError, match="strategy=together needs one teacher="):
            load(words)
        return
    cfg = load(words)
    assert cfg.strategy.name == strategy
    assert set(cfg.strategy) == set(load([f"strategy={options('strategy')[0]}"]).strategy)


@pytest.mark.parametrize(
    ("overrides", "sentence"),
    [
        (["bogus=1"], "unknown setting 'bogus'"),
        (["student.schooling.lr=1"], "unknown setting 'student.schooling.lr'"),
        (["strategy=foo"], "Available options in 'strategy': alone"),
        (["rounds=x"], "rounds must be an int, got 'x'"),
        (["rounds=0"], "rounds must be a whole number, at least 1"),
        (["strategy.teacher=true", "+teacher@assistants.a=tcn"], "assistants a need a teacher before them"),
        (["teacher=tcn", "+teacher@assistants.teacher=tcn"], "cannot be called teacher"),
        (["teacher=tcn", "+teacher@assistants.student=tcn"], "cannot be called student"),
        (["objective.teacher=a"], "objective.teacher must be a float"),
        (["rounds=1"], "strategy=distil needs speak_after below rounds, got 1 of 1"),
        (["rounds=5", "speak_after=5"], "needs speak_after below rounds, got 5 of 5"),
        (["rounds=3", "speak_after=5"], "nobody would hear what is said"),
        (["experiment=demo", "rounds=1"], "needs speak_after below rounds"),
        (["speak_after=0"], "speak_after must be a whole number, at least 1, got 0"),
        (["speak_after=x"], "speak_after must be a whole number, at least 1, got 'x'"),
        (["min_views=0"], "min_views must be a whole number, at least 1, got 0"),
        (["strategy.teacher_voice=2"], "teacher_voice must be a share from 0 to 1, got 2"),
        (["strategy.deaf_below=-0.1"], "deaf_below must be a share"),
        (["strategy.deaf_below=x"], "deaf_below must be a share"),
        (["objective.teacher=-1.0"], "objective.teacher must be at least 0"),
        (["objective.consensus=nan"], "objective.consensus must be at least 0, got nan"),
        (["objective.threshold=0.0"], "objective.threshold must be above 0 and at most 1"),
        (["consensus.beta=0"], "consensus.beta must be above 0, got 0"),
        (["consensus=era", "consensus.temperature=-1"], "consensus.temperature must be above 0"),
        (["loss.temperature=0.02"], "loss.temperature must be at least 0.1, got 0.02"),
        (["guidance=adaptive", "teacher=tcn", "guidance.temperature=0"], "guidance.temperature must be at least 0.1"),
        (["student.augment.flip=7"], "student.augment.flip must be a share from 0 to 1, got 7"),
        (["student.augment.shift=-4"], "student.augment.shift must be at least 0, got -4"),
        (["+student.augment.light=2"], "student.augment.light must be a share"),
        (["student=depth_small", "+student.augment.zoom=1"], "student.augment.zoom must be at least 0 and below 1"),
        (["student=pose_net", "student.augment.turn=-1"], "student.augment.turn must be at least 0"),
        (["student=pose_net", "student.augment.augment.warp=5"], "augment.augment.warp must be at least 0 and below 1"),
        (["teacher=tcn", "+teacher.augment.jitter=-1"], "teacher.augment.jitter must be at least 0, got -1"),
        *(
            (
                ["student=inertial_transformer", f"student.augment.crop={crop}"],
                "augment.crop must be above 0 and at most 1",
            )
            for crop in (3, 0, -1)
        ),
        (
            ["experiment=progressive", "assistants.fused.augment.crop=nan"],
            "assistants.fused.augment.crop must be above 0",
        ),
        (["+student.schooling.foo=1"], "student.schooling has no setting foo; it has batch, epochs"),
        (
            ["experiment=progressive", "+assistants.fused.schooling.lr=1"],
            "assistants.fused.schooling has no setting lr",
        ),
        (["student=imu_tcn", "+student.schooling.lr=1"], "student.schooling has no setting lr"),
        (["place.workers=0"], "place.workers must be null or a whole number, at least 1, got 0"),
        (["place.hosts=1.5"], "place.hosts must be null or a whole number"),
        (["student.schooling.batch=0"], "student.schooling.batch must be a whole number"),
        (
            ["experiment=progressive", "assistants.inertial.schooling.batch=0"],
            "assistants.inertial.schooling.batch must be a whole number",
        ),
        (["experiment=online", "student=skeleton_transformer"], "does not mix clips"),
        (
            [
                "experiment=online",
                "data=utd_mhad",
                "student=inertial_conv",
                "teacher=tcn",
                "+student@students.kinect=skeleton_transformer",
            ],
            "does not mix clips",
        ),
        (["experiment=online", "hint=focal_channel"], "hint=focal_channel compares moments"),
        (["experiment=cmd_mv", "strategy=together", "hint=focal_channel"], "hint=focal_channel compares moments"),
        (["results_dir=''"], "results_dir must name a folder"),
        (["name=a/b"], "name is one folder under results_dir"),
        (["name=.."], "name is one folder under results_dir"),
        (["teaching.origin=lab"], "teaching.origin=lab needs a teacher"),
        (["teaching.origin=federated", "strategy=alone"], "teaching.origin=federated needs a teacher"),
        (["split=train"], "split must be test or valid"),
        (["rounds"], "Error parsing override 'rounds'"),
        (["teaching.origin=heaven"], "teaching.origin must be"),
        (["teacher=tcn", "teaching.origin=file"], "needs teaching.file"),
        (
            ["strategy=central", "strategy.teacher=true", "teacher=tcn", "teaching.origin=federated"],
            "strategy=central pools the recordings, so there are no views to federate",
        ),
        (["strategy=together", "teacher=tcn", "teaching.origin=federated"], "strategy=together pools the recordings"),
    ],
)
def test_what_cannot_be_is_refused_in_a_sentence(overrides: list[str], sentence: str) -> None:
    with pytest.raises(UserError, match=sentence) as refused:
        load(overrides)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("overrides", "sentence"),
    [
        (["hint=contrast", "teacher=none"], r"hint \(ContrastHint\) can do nothing without a teacher; set teacher="),
        (
            ["guidance=adaptive", "teacher=none"],
            r"guidance \(adaptive_confidence_loss\) can do nothing without a teacher",
        ),
        (["teaching.paired=false", "teacher=none"], "teaching.paired=false can do nothing without a teacher"),
        (["experiment=cmd_mv", "teacher=none", "strategy=alone"], "can do nothing without a teacher"),
        (
            ["teacher=tcn", "online.teacher_first=true"],
            "online.teacher_first=True can do nothing with teaching.origin=local",
        ),
        (["experiment=cmd_mv", "strategy=together", "online.attention=false"], "online.attention=False can do nothing"),
        (["teacher=tcn", "online.strengthen=0"], "online.strengthen=0 can do nothing .* set teaching.origin=online"),
    ],
)
def test_what_can_do_nothing_is_refused_in_a_sentence(overrides: list[str], sentence: str) -> None:
    with pytest.raises(UserError, match=sentence) as refused:
        load(overrides)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("overrides", "idle"),
    [
        (["hint=contrast", "teacher=tcn", "strategy=fedavg"], r"hint \(ContrastHint\)$"),
        (["experiment=cmd_mv", "strategy=labels", "objective.pseudo=0"], "do nothing: hint"),
        (["experiment=utd_progressive", "strategy.teacher=false"], r"guidance \(adaptive_confidence_loss\)$"),
        (
            ["experiment=utd_progressive", "strategy=alone", "teaching.paired=false"],
            "guidance .*, teaching.paired=false$",
        ),
    ],
)
def test_what_a_baseline_has_no_use_for_is_remarked_on(overrides: list[str], idle: str) -> None:
    with pytest.warns(Remark, match=idle):
        load([*overrides, "seed=72"])  # what was loaded before is not loaded again


def test_what_does_something_is_no_cause_for_a_remark() -> None:
    with warnings.catch_warnings(action="error", category=Remark):
        for words in (["experiment=cmd_mv"], ["experiment=online", "online.attention=false"], ["strategy=labels"]):
            load([*words, "seed=73"])


def test_an_environment_that_changes_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, setting in (("FEDKD_DATA", "data_dir"), ("FEDKD_PREPARED", "prepared_dir")):
        for folder in ("/one", "/other"):
            monkeypatch.setenv(name, folder)
            assert load(["data=utd_mhad"]).data[setting] == folder


def test_no_yaml_looks_up_another_word_of_the_environment() -> None:
    yamls = (Path(config.__file__).parent / "conf").rglob("*.yaml")
    looked_up = {name for path in yamls for name in re.findall(r"oc\.env:(\w+)", path.read_text())}
    assert looked_up == set(config._ENVIRONMENT)


@pytest.mark.parametrize(("rounds", "first"), [(12, 5), (6, 5), (5, 4), (2, 1)])
def test_the_views_speak_early_enough_to_be_heard(rounds: int, first: int) -> None:
    cfg = load(["experiment=nw_ucla_10", f"rounds={rounds}"])
    assert cfg.speak_after == cfg.strategy.exchange.first == first


def test_who_does_not_speak_may_have_one_round() -> None:
    assert load(["strategy=alone", "rounds=1"]).rounds == 1


def test_a_target_outside_the_project_is_refused() -> None:
    with pytest.raises(UserError, match="_target_ under"):
        build(OmegaConf.create({"_target_": "os.system", "command": "true"}))


@pytest.mark.parametrize(
    "target", ["torch.utils.collect_env.run", "fedkd.files.os.getcwd", "torch.nn.modules.module.warnings.warn"]
)
def test_a_way_through_a_trusted_module_to_another_is_refused(target: str) -> None:
    with pytest.raises(UserError, match="_target_ under"):
        build(OmegaConf.create({"_target_": target}))


def test_a_nested_target_is_refused_too() -> None:
    node = {"_target_": "fedkd.data.reprojection.Reprojection", "augment": {"_target_": "pathlib.Path"}}
    with pytest.raises(UserError, match=r"pathlib.Path"):
        build(OmegaConf.create(node))


def test_an_argument_of_the_wrong_kind_is_refused() -> None:
    with pytest.raises(UserError, match="Synthetic's views must be an int, got 'x'"):
        build(load(["data=synthetic", "data.views=x"]).data)


@pytest.mark.parametrize(
    ("words", "shape", "sentence"),
    [
        (["student=rgb_small"], (8, 47, 47, 3), "SmallVideoNet cannot be made: .* even height and width, got 47 x 47"),
        (
            ["student=inertial_transformer", "+student.model.heads=5"],
            (64, 2, 3),
            "SequenceTransformer cannot be made: channels must be a multiple of heads, got 64 channels and 5 heads",
        ),
        (["student=inertial_transformer", "+student.model.heads=0"], (64, 2, 3), "a multiple of heads"),
        (["student=imu_tcn", "+student.model.dilations=4"], (8, 4, 3), "Tcn cannot be made: Type"),
        (["student=imu_tcn", "+student.model.channels=-8"], (8, 4, 3), "Tcn cannot be made: RuntimeError: "),
    ],
)
def test_a_net_that_cannot_be_is_refused_in_a_sentence(words: list[str], shape: tuple[int, ...], sentence: str) -> None:
    with pytest.raises(UserError, match=sentence) as refused:
        build(load(words).student.model, sample_shape=shape, num_classes=3)
    assert "\n" not in str(refused.value)


def test_what_torch_asserts_of_a_setting_is_a_sentence_too() -> None:
    with pytest.raises(
        UserError, match=r"MultiheadAttention cannot be made: AssertionError: embed_dim must be divisible"
    ):
        build(OmegaConf.create({"_target_": "torch.nn.MultiheadAttention", "embed_dim": 64, "num_heads": 5}))


def test_a_setting_that_another_data_set_has_is_refused() -> None:
    with pytest.raises(UserError, match="Tiny has no setting depth"):
        build(load(["experiment=focal_channel", "data=tiny"]).data)


def test_a_sweep_is_every_combination_in_order() -> None:
    assert list(expand(["seed=0,1", "rounds=3", "strategy=alone,distil"])) == [
        ["seed=0", "rounds=3", "strategy=alone"],
        ["seed=0", "rounds=3", "strategy=distil"],
        ["seed=1", "rounds=3", "strategy=alone"],
        ["seed=1", "rounds=3", "strategy=distil"],
    ]


def test_help_shows_every_setting_of_what_is_chosen(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "--help", "data=tiny", "strategy=fedavg", "rounds=7"]) == 0
    said = capsys.readouterr().out
    assert "[fedavg]" in said and "central" in said, "a group's other options"
    assert "  rounds: 7                  # of Flower: train" in said
    assert "    supervised: 1.0          # cross-entropy on true labels" in said
    assert "  data:\n    _target_: fedkd.data.tiny.Tiny\n" in said
    assert "    common_start: true       # averaging needs one start" in said, "the option's own word, not its base's"
    cfg = load(["data=tiny", "strategy=fedavg", "rounds=7"])
    assert all(f"\n    {key}:" in said for node in (cfg.data, cfg.place, cfg.teaching) for key in node)


def test_overrides_survive_the_way_through_one_string() -> None:
    overrides = ["name=a b", "data.labels=0.1", "results_dir='/tmp/x y'"]
    assert from_string(as_string(overrides)) == overrides


def test_composing_leaves_a_hydra_that_is_in_use_alone() -> None:
    from hydra import compose, initialize_config_module

    with initialize_config_module("fedkd.conf", version_base="1.3"):
        load(["seed=12345"])
        assert compose("config", overrides=["seed=7"]).seed == 7
