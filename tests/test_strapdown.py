"""Strapdown integration against movements whose velocity is known."""

import math

import torch

from fedkd.data.strapdown import GRAVITY, strapdown

RATE, SECONDS = 200.0, 2.0
TIME = torch.arange(int(RATE * SECONDS)) / RATE


def swing() -> tuple[torch.Tensor, torch.Tensor]:
    """Velocity [T 3] of a swing to and fro along the first axes, in metres a second, and its acceleration in g."""
    at = 2 * math.pi * TIME[:, None] * torch.tensor([1.0, 2.0, 0.0])
    speed = torch.tensor([1.0, 0.5, 0.0])
    return speed * at.sin(), speed * at.cos() * torch.tensor([1.0, 2.0, 0.0]) * 2 * math.pi / GRAVITY


def test_a_sensor_that_does_not_turn() -> None:
    moved, acceleration = swing()
    felt = acceleration + torch.tensor([0.0, 0.0, 1.0])
    same, found = strapdown(felt, torch.zeros_like(felt), RATE)
    assert torch.allclose(same, felt) and torch.allclose(found, moved - moved.mean(0), atol=0.05)


def test_turning_is_undone() -> None:
    moved, acceleration = swing()
    angle = torch.deg2rad(90 * TIME)  # a quarter turn a second about the third axis
    cos, sin, one, zero = angle.cos(), angle.sin(), torch.ones_like(angle), torch.zeros_like(angle)
    into_sensor = torch.stack([cos, sin, zero, -sin, cos, zero, zero, zero, one], -1).view(-1, 3, 3)
    pushed = acceleration + torch.tensor([0.0, 0.0, 1.0])
    turning = torch.tensor([0.0, 0.0, 90.0]).expand(len(TIME), 3)
    felt, found = strapdown(torch.einsum("tij,tj->ti", into_sensor, pushed), turning, RATE)
    assert torch.allclose(felt, pushed, atol=1e-4) and torch.allclose(found, moved - moved.mean(0), atol=0.05)


def test_a_sensor_mounted_otherwise_sees_the_same_in_its_own_axes() -> None:
    felt, turning = torch.randn(100, 3), 50 * torch.randn(100, 3)
    mount, _ = torch.linalg.qr(torch.randn(3, 3))
    mount *= torch.det(mount)
    turned, straight = strapdown(felt @ mount.T, turning @ mount.T, RATE), strapdown(felt, turning, RATE)
    for there, here in zip(turned, straight, strict=True):
        assert torch.allclose(there, here @ mount.T, atol=1e-4)


def test_one_moment_has_no_velocity() -> None:
    assert strapdown(torch.ones(1, 3), torch.zeros(1, 3), RATE)[1].tolist() == [[0.0, 0.0, 0.0]]
