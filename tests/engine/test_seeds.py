"""Hashed random numbers: what they depend on, and their distribution."""

import hashlib
import itertools

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor

from faal.engine.seeds import Stream, _mix, derive_seed, generator, normal, uniform

INDEX = torch.arange(1000)


def drawn(index: Tensor = INDEX, count: int = 64, **changes: int) -> Tensor:
    parts = {"seed": 7, "epoch": 3, "stream": Stream.START} | changes
    return uniform(index, count, **parts)  # type: ignore[arg-type]


class TestDependence:
    def test_not_on_the_batch(self) -> None:
        """Neither on its composition, nor on its order, nor on its size."""
        shuffle = torch.randperm(1000, generator=torch.Generator().manual_seed(0))
        assert torch.equal(drawn(INDEX[shuffle]), drawn()[shuffle])
        assert torch.equal(drawn(torch.tensor([17])), drawn()[17:18])
        assert torch.equal(drawn(torch.tensor([5, 5, 17])), drawn()[[5, 5, 17]])
        torch.manual_seed(1)
        before = drawn()
        torch.manual_seed(2)
        assert torch.equal(drawn(), before)

    def test_normal_numbers_neither(self) -> None:
        full = normal(INDEX, 9, seed=1, epoch=0, stream=Stream.START)
        assert torch.equal(normal(INDEX[40:42], 9, seed=1, epoch=0, stream=Stream.START), full[40:42])

    def test_not_on_how_many_are_drawn(self) -> None:
        assert torch.equal(drawn(count=5), drawn(count=64)[:, :5])

    def test_not_on_the_type_of_the_index_or_the_callers_default(self) -> None:
        assert torch.equal(drawn(INDEX.to(torch.int32)), drawn())
        before = drawn()
        torch.set_default_dtype(torch.float64)
        try:
            assert drawn().dtype == torch.float32
            assert torch.equal(drawn(), before)
        finally:
            torch.set_default_dtype(torch.float32)

    def test_the_callers_generator_does_not_change(self) -> None:
        before = torch.get_rng_state()
        normal(INDEX, 3, seed=0, epoch=0, stream=Stream.START)
        assert torch.equal(torch.get_rng_state(), before)

    @pytest.mark.parametrize("changes", [{"seed": 8}, {"epoch": 4}, {"stream": Stream.RESTART}])
    def test_on_seed_epoch_and_stream(self, changes: dict[str, int]) -> None:
        first, second = drawn(), drawn(**changes)
        assert float((first == second).float().mean()) < 1e-4
        assert abs(np.corrcoef(first.flatten(), second.flatten())[0, 1]) < 4 / np.sqrt(first.numel())

    def test_the_same_on_every_machine(self) -> None:
        """Against recorded values: results must be reproducible later."""
        found = uniform(torch.tensor([0, 49_999]), 3, seed=42, epoch=1, stream=Stream.CROP)
        recorded = torch.tensor([[11067524, 1079474, 12241396], [10820672, 190114, 443441]])
        assert torch.equal((found * 2**24).long(), recorded)


def mix(x: int) -> int:
    """`_mix` in Python's unbounded integers, 32 bits at a time."""
    x ^= x >> 16
    x = x * 0x21F0AAAD % 2**32
    x ^= x >> 15
    x = x * 0x735A2D97 % 2**32
    return x ^ x >> 15


def test_signed_arithmetic_wraps_as_unsigned_does() -> None:
    for index, position in itertools.product((0, 1, 77, 2**31 - 1), (0, 1, 3071)):
        key = derive_seed(-5, 2, 3)
        low, high = key % 2**32, key >> 32
        sample = mix(mix(index ^ low) ^ high)
        word = mix(mix((sample + position * 0x9E3779B9) % 2**32) ^ high)
        found = uniform(torch.tensor([index]), 3072, seed=-5, epoch=2, stream=Stream.FLIP)
        assert float(found[0, position]) == (word >> 8) / 2**24


class TestUniform:
    def test_range_and_grid(self) -> None:
        numbers = uniform(torch.arange(4000), 256, seed=0, epoch=0, stream=Stream.FLIP)
        assert 0 <= float(numbers.min()) < 1e-5
        assert 1 - 1e-5 < float(numbers.max()) < 1
        assert torch.equal(numbers * 2**24, (numbers * 2**24).round())

    @pytest.mark.medium
    @pytest.mark.parametrize("stream", list(Stream))
    def test_distribution(self, stream: Stream) -> None:
        numbers = drawn(stream=stream).numpy()
        assert stats.kstest(numbers.flatten(), "uniform").pvalue > 0.001
        # Along each sample, and at each position over the samples, too.
        by_sample = [stats.kstest(row, "uniform").pvalue for row in numbers[:200]]
        by_position = [stats.kstest(column, "uniform").pvalue for column in numbers.T]
        assert stats.kstest(by_sample, "uniform").pvalue > 0.001
        assert stats.kstest(by_position, "uniform").pvalue > 0.001

    @pytest.mark.parametrize("first", [0, 49_000, 2**31 - 1000])
    def test_neighbours_do_not_follow_each_other(self, first: int) -> None:
        numbers = drawn(first + INDEX).numpy() - 0.5
        limit = 4.5 / np.sqrt(numbers.size) * (1 / 12)
        for samples, positions in itertools.product((0, 1, 2, 16), (0, 1, 2, 16)):
            if samples or positions:
                values = numbers[: 1000 - samples, : 64 - positions]
                neighbours = numbers[samples:, positions:]
                assert abs((values * neighbours).mean()) < limit

    def test_neighbouring_seeds_and_epochs_do_not_follow_each_other(self) -> None:
        starts = torch.stack([drawn(torch.tensor([0]), 256, seed=s, epoch=e)[0] for s in range(12) for e in range(12)])
        correlation = np.corrcoef(starts.numpy()) - np.eye(len(starts))
        assert np.abs(correlation).max() < 6 / np.sqrt(256)

    def test_no_two_samples_share_their_numbers(self) -> None:
        first = uniform(torch.arange(50_000), 4, seed=0, epoch=0, stream=Stream.START)
        assert len(torch.unique(first, dim=0)) == 50_000


class TestNormal:
    @pytest.mark.parametrize("count", [1, 2, 63, 64])
    def test_distribution(self, count: int) -> None:
        numbers = normal(torch.arange(64_000 // count), count, seed=5, epoch=0, stream=Stream.START)
        assert numbers.shape == (64_000 // count, count)
        assert bool(torch.isfinite(numbers).all())
        assert stats.kstest(numbers.flatten().numpy(), "norm").pvalue > 0.01

    def test_the_halves_are_independent(self) -> None:
        """Cosine and sine of one radius: uncorrelated, in their squares too."""
        numbers = normal(torch.arange(20_000), 2, seed=5, epoch=0, stream=Stream.START).numpy()
        for power in (1, 2):
            assert abs(np.corrcoef((numbers**power).T)[0, 1]) < 4 / np.sqrt(20_000)


class TestMix:
    def test_no_two_words_become_one(self) -> None:
        words = torch.arange(-(2**17), 2**17, dtype=torch.int32) * 8191
        assert len(torch.unique(_mix(words))) == len(torch.unique(words)) == 2**18

    def test_every_bit_in_flips_every_bit_out(self) -> None:
        words = torch.arange(20_000, dtype=torch.int32) * 104_729
        for bit in range(32):
            flip = -(2**31) if bit == 31 else 1 << bit
            changed = _mix(words) ^ _mix(words ^ flip)
            for out in range(32):
                share = float(((changed >> out) & 1).float().mean())
                assert 0.4 < share < 0.6, (bit, out, share)


def test_derived_seeds() -> None:
    digest = hashlib.blake2b(b"(42, 'order', 3)", digest_size=8).digest()
    assert derive_seed(42, "order", 3) == int.from_bytes(digest, "little") // 2
    seeds = {derive_seed(seed, name) for seed in range(100) for name in ("order", "hold out")}
    assert len(seeds) == 200
    assert all(0 <= seed < 2**63 for seed in seeds)
    assert derive_seed(12, 3) != derive_seed(1, 23) != derive_seed("1", 23)


def test_generators() -> None:
    first = torch.randperm(100, generator=generator(42, "order", 3))
    assert torch.equal(first, torch.randperm(100, generator=generator(42, "order", 3)))
    assert not torch.equal(first, torch.randperm(100, generator=generator(42, "order", 4)))
