"""The benchmark compares like with like: an independent loop of plain PyTorch gives the bits of a federated run."""

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from tiny import only_folder

from fedkd.assemble import student_course
from fedkd.build import build
from fedkd.config import load
from simulations.bench import __main__ as bench
from simulations.bench import bare, fleet, network
from simulations.bench.job import SMALL, TINY, dry
from simulations.bench.measure import Run
from simulations.bench.table import rows
from simulations.run import run_one
from strategies.checkpoint import arrays_in


@pytest.mark.parametrize(("job", "parameters"), [(SMALL, 49_902), (TINY, 510)])
def test_the_job_composes_and_its_student_has_the_stated_size(job, parameters):
    cfg = load(job.overrides())
    course, data = student_course(cfg), build(cfg.data)
    assert len(data.view_names()) == 64
    assert course.schooling.steps(data.clips) == job.steps
    pupil = course.new_pupil((data.frames, data.joints, 3), data.num_classes, (0, "student"))
    assert sum(parameter.numel() for parameter in pupil.net.parameters()) == parameters


@pytest.fixture(scope="module")
def local(tmp_path_factory):
    """A little job's file, and its last averaged weights in the place local."""
    folder = tmp_path_factory.mktemp("local")
    job = replace(dry(TINY), rounds=3, clips=32)
    job.write(folder / "job.npz")
    run_one([*job.overrides(), "place.workers=1", f"results_dir='{folder}'"])
    return folder / "job.npz", arrays_in(load_file(only_folder(folder) / "checkpoint" / "server.safetensors"))


def test_the_bare_loop_ends_with_the_weights_of_the_place_local(local, tmp_path):
    file, ours = local
    theirs = bare.train(bare.Job(file), 1, tmp_path)
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_the_bare_program_in_two_processes_does_the_same_and_tells_when_rounds_end(local, tmp_path):
    file, ours = local
    subprocess.run([sys.executable, bare.__file__, file, tmp_path, "--processes", "2"], check=True, timeout=120)
    theirs = np.load(tmp_path / "weights.npz")
    assert all(np.array_equal(ours[name].numpy(), theirs[name]) for name in theirs)
    assert (tmp_path / "rounds.csv").read_text().split() == ["1", "2", "3"]


def test_the_file_holds_a_seed_for_every_view_and_round(tmp_path):
    job = dry(TINY)
    job.write(tmp_path / "job.npz")
    seeds = np.load(tmp_path / "job.npz")["seeds"]
    assert seeds.shape == (job.rounds, job.views)
    assert len(np.unique(seeds)) == seeds.size


@pytest.mark.parametrize("benchmark", [bench, fleet, network])
def test_no_benchmark_replaces_evidence_unasked(benchmark):
    assert benchmark.parser().parse_args([]).out.parts[-1] != "evidence"
    assert "results/evidence" in benchmark.parser().format_help()


def test_a_ratio_is_taken_between_runs_of_the_same_repeat():
    def seen(contender, repeat, a_round):
        ends = tuple(1 + a_round * number for number in range(4))
        return Run("small", contender, repeat, ends, 10.0 * a_round, 12.0, ((0.5, 1_000_000),), 0.5, "w")

    slow_later = [seen("bare-2", 0, 1.0), seen("local", 0, 1.1), seen("bare-2", 1, 2.0), seen("local", 1, 2.2)]
    [_, local] = rows(slow_later)
    assert local[2:4] == ("1.650 (1.100-2.200)", "1.10 (1.10-1.10)")
    assert local[-1] == "the same"


def test_a_peak_until_a_round_counts_what_was_held_before_its_end():
    run = Run("memory", "local", 0, (1.0, 2.0, 3.0), 3.5, 4.0, ((0.5, 10), (1.5, 30), (2.5, 20), (3.9, 90)), 0.5, "")
    assert (run.peak(1), run.peak(2), run.peak(3), run.peak()) == (10, 30, 30, 90)
