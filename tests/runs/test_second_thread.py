"""A second thread changes the time of a step and none of its numbers."""

import os
import subprocess
import sys
import time
from dataclasses import replace

import pytest
import torch
from conftest import FEW, ROOT
from joblib import cpu_count

from soundmind_lite import data, grpo, models, profiles
from soundmind_lite.runs import beside, second_thread
from soundmind_lite.runs.second_thread import SecondThread

LINUX = pytest.mark.skipif(sys.platform != "linux", reason="second threads on Linux alone")


@pytest.fixture
def possible(monkeypatch):
    monkeypatch.setattr(second_thread, "possible", lambda: True)
    monkeypatch.setattr(second_thread, "FREE", 0.0)  # however busy this machine is
    yield
    torch.set_num_threads(1)


def trained(folder, rows, **sizes):
    """The parameters of a trainer after two steps, and the threads that its rewards saw."""
    threads = []

    def answer_length(completions, **_):
        threads.append(torch.get_num_threads())
        return [float(len(completion[0]["content"])) for completion in completions]

    profile = replace(profiles.get("tiny"), **FEW | sizes)
    model, processor = models.load(profile)
    torch.manual_seed(0)
    trainer = grpo.trainer_for(
        profile,
        model,
        processing_class=processor,
        train_dataset=rows,
        output_dir=folder,
        reward_funcs=[answer_length],
        max_steps=2,
    )
    trainer.train()
    return dict(trainer.model.named_parameters()), threads


def test_two_threads_train_the_same_model_to_the_bit(possible, monkeypatch, tmp_path):
    sizes = {"num_generations": 8, "per_device_train_batch_size": 16, "max_completion_length": 40}
    rows = data.training_rows(data.load_alr("mini", "train")).select(range(4))
    two, seen = trained(tmp_path / "two", rows, **sizes)
    assert seen == [2, 2]
    monkeypatch.setattr(second_thread, "possible", lambda: False)
    one, seen = trained(tmp_path / "one", rows, **sizes)
    assert seen == [1, 1]
    assert one.keys() == two.keys()
    assert all(torch.equal(one[name], two[name]) for name in one)


def test_a_step_has_them_and_what_follows_has_one(possible, eight_rows, tmp_path):
    _, seen = trained(tmp_path, data.training_rows(data.load_alr(eight_rows)))
    assert seen == [2, 2]
    assert torch.get_num_threads() == 1


def test_where_another_process_has_the_core_one_thread_goes_on(possible, monkeypatch):
    monkeypatch.setattr(second_thread, "FREE", 1.4)
    monkeypatch.setattr(second_thread, "ALONE", 2)
    thread, seen = SecondThread(), []
    for _ in range(4):
        with thread.while_free():
            seen.append(torch.get_num_threads())
            time.sleep(0.05)  # without a core, as if another had it
    assert seen == [2, 1, 1, 2]


def test_with_both_cores_two_threads_stay(possible, monkeypatch):
    monkeypatch.setattr(second_thread, "FREE", 0.1)  # of the work below, beside any other work
    thread, seen = SecondThread(), []
    for _ in range(3):
        with thread.while_free():
            seen.append(torch.get_num_threads())
            sum(range(10**6))
    assert seen == [2, 2, 2]


def test_an_error_leaves_one_thread(possible):
    with pytest.raises(KeyError), SecondThread().while_free():
        raise KeyError
    assert torch.get_num_threads() == 1


@LINUX
def test_a_fork_after_two_threads_still_computes(possible, monkeypatch, tmp_path):
    """With two threads it would wait for one that it doesn't have."""
    monkeypatch.setattr(beside, "core_is_free", lambda: True)
    matrix, done = torch.randn(900, 900), tmp_path / "done"
    with SecondThread().while_free():
        (matrix @ matrix).exp()

    def task():
        (matrix @ matrix).exp()
        done.touch()

    with beside.beside(task):
        for _ in range(300):
            if done.exists():
                break
            time.sleep(0.1)
        else:
            pytest.fail("the forked process hangs")


def environment(before, **variables):
    """OMP_WAIT_POLICY and GOMP_SPINCOUNT after `let_threads_sleep`, in a new process."""
    code = f"""
import os
{before}
from soundmind_lite.runs import second_thread
second_thread.let_threads_sleep()
import torch
torch.set_num_threads(1)
policy, waiting = os.environ.get("OMP_WAIT_POLICY"), os.environ.get("GOMP_SPINCOUNT")
print(policy, waiting, second_thread.possible())
"""
    names = ("OMP_NUM_THREADS", "OMP_WAIT_POLICY", "GOMP_SPINCOUNT")
    kept = {name: value for name, value in os.environ.items() if name not in names}
    env = kept | {"PYTHONPATH": str(ROOT)} | variables
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


@LINUX
@pytest.mark.skipif(cpu_count() < 2, reason="needs two cores")
@pytest.mark.skipif(torch.cuda.is_available(), reason="for CPUs alone")
@pytest.mark.parametrize(
    "before, variables, expected",
    [
        ("", {}, ["PASSIVE", "3000", "True"]),
        ("", {"OMP_NUM_THREADS": "1"}, ["PASSIVE", "3000", "False"]),
        ("", {"OMP_WAIT_POLICY": "ACTIVE"}, ["ACTIVE", "None", "False"]),
        ("", {"GOMP_SPINCOUNT": "500"}, ["PASSIVE", "500", "True"]),
        ("import torch", {}, ["PASSIVE", "None", "False"]),
    ],
)
def test_only_where_threads_that_wait_sleep_soon(before, variables, expected):
    assert environment(before, **variables) == expected
