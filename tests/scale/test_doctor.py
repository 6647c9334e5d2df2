"""What a machine can run is planned from its cards; what is missing is said with what to do."""

import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from soundmind_lite import profiles
from soundmind_lite.profiles import PROFILES
from soundmind_lite.scale import doctor

T4, L4, A6000 = ("Tesla T4", 15.8), ("NVIDIA L4", 23.6), ("NVIDIA RTX A6000", 51.0)
A100_40, A100 = ("NVIDIA A100-SXM4-40GB", 42.4), ("NVIDIA A100-SXM4-80GB", 85.1)


@pytest.mark.parametrize(
    ("cards", "able", "best"),
    [
        ([], [], "tiny"),
        ([("NVIDIA GeForce GTX 1650", 4.0)], [], "tiny"),
        ([T4], ["t4"], "t4"),
        ([T4, T4], ["t4"], "t4"),
        ([L4], ["t4", "l4"], "l4"),
        ([("NVIDIA GeForce RTX 4090", 25.3)], ["t4", "l4"], "l4"),
        ([A100_40], ["t4", "l4", "a100", "48gb"], "a100"),
        ([("NVIDIA L40S", 47.7)], ["t4", "l4", "a100", "48gb"], "48gb"),
        ([A6000], ["t4", "l4", "a100", "48gb"], "48gb"),
        ([A100], ["t4", "l4", "a100", "48gb", "80gb"], "80gb"),
        ([A100, A100], ["t4", "l4", "a100", "48gb", "80gb", "multi"], "80gb"),
        ([A100, L4], ["t4", "l4", "a100", "48gb", "80gb"], "80gb"),
    ],
)
def test_what_a_machine_can_run_comes_from_the_plan(cards, able, best, monkeypatch):
    found = [p.name for p in PROFILES.values() if doctor.profile_finding(p, cards).ok]
    assert found == ["tiny", *able]
    monkeypatch.setattr(doctor, "gpus", lambda: cards)
    assert doctor.best_profile() == best


@pytest.mark.parametrize(
    ("profile", "cards", "words"),
    [
        ("l4", [], "wants a GPU of 22 GB, there is none here"),
        ("80gb", [L4], r"needs \d\d GB in evaluation, the largest card here has 23 GB"),
        ("multi", [A100], "wants several GPUs, found 1"),
        ("multi", [A100, L4], r"needs \d\d GB in evaluation, the smallest card here has 23 GB"),
        ("l4", [("Tesla T4", 32.0)], "needs bfloat16, which the T4 lacks"),
    ],
)
def test_a_refusal_says_what_is_missing(profile, cards, words, monkeypatch):
    monkeypatch.setattr(doctor, "gpus", lambda: cards)
    with pytest.raises(doctor.MachineError, match=f"{words}; what runs here: tiny"):
        doctor.require(profiles.get(profile))


def test_sharded_weights_serve_cards_that_cannot_hold_them(monkeypatch):
    profile = replace(profiles.get("multi"), max_audio_seconds=60, per_device_eval_batch_size=4)
    assert "smallest card here" in doctor.profile_finding(profile, [L4] * 8).remedy
    monkeypatch.setenv("ACCELERATE_USE_FSDP", "true")
    assert doctor.profile_finding(profile, [L4] * 8).ok


def test_the_first_card_is_planned_for(monkeypatch):
    monkeypatch.setattr(doctor, "gpus", lambda: [A100_40, T4])
    assert doctor.card_here().name == "A100-40GB"
    monkeypatch.setattr(doctor, "gpus", list)
    with pytest.raises(doctor.MachineError, match="no GPU here"):
        doctor.card_here()


def driver_file(folder: Path, monkeypatch) -> None:
    file = folder / "version"
    file.write_text(
        "NVRM version: NVIDIA UNIX x86_64 Kernel Module  550.54.15  Tue Mar  5 22:23:56 UTC 2024\n"
        "GCC version:  gcc version 12.2.0\n"
    )
    monkeypatch.setattr(doctor, "DRIVER", file)


def test_a_driver_without_cuda_says_what_to_update(tmp_path, monkeypatch):
    driver_file(tmp_path, monkeypatch)
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    monkeypatch.setattr(doctor, "gpus", list)
    said = str(doctor.driver_finding([]))
    assert "NVIDIA driver 550.54.15, but torch" in said
    assert "built for CUDA 13.0" in said
    assert "update the driver, or install torch's build for CUDA 12" in said
    assert any("550.54.15" in str(finding) for finding in doctor.examine())
    with pytest.raises(doctor.MachineError, match="needs a driver of 580 or newer"):
        doctor.require(profiles.get("t4"))
    monkeypatch.setattr(torch.version, "cuda", None)
    assert "built without CUDA" in str(doctor.driver_finding([]))
    assert doctor.driver_finding([T4]) is None


def test_nvidia_smi_is_asked_where_no_file_names_the_driver(tmp_path, monkeypatch):
    monkeypatch.setattr(doctor, "DRIVER", tmp_path / "none")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert doctor.driver() is None
    program = tmp_path / "nvidia-smi"
    program.write_text("#!/bin/sh\necho 535.104.05\necho 535.104.05\n")
    program.chmod(0o755)
    assert doctor.driver() == "535.104.05"
    program.write_text("#!/bin/sh\necho no devices were found\nexit 6\n")
    assert doctor.driver() == ""


def test_another_torch_is_left_alone(monkeypatch):
    real = doctor.installed
    hosted = {"torch": "2.11.0+cu126", "transformers": "5.15.0", "pytest": "8.0.0"}
    monkeypatch.setattr(doctor, "installed", lambda name: hosted.get(name) or real(name))
    lines = {str(f).split()[1]: f for f in doctor.packages()}
    assert str(lines["torch"]) == "OK   torch 2.11.0+cu126 (tested: 2.13.0)"
    assert lines["transformers"].remedy.endswith("pip install transformers==5.23.0")
    assert not any("requirements.txt" in f.remedy for f in lines.values())
    assert not lines["pytest"].needed
    del hosted["torch"]
    assert (
        "-r requirements.txt"
        in {str(f).split()[1]: f for f in doctor.packages()}["transformers"].remedy
    )


@pytest.mark.parametrize(
    ("version", "ok"),
    [((3, 10, 9), False), ((3, 11, 0), True), ((3, 13, 5), True), ((3, 14, 0), False)],
)
def test_python(version, ok, monkeypatch):
    monkeypatch.setattr(sys, "version_info", version)
    assert doctor.python().ok is ok
