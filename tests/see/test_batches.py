"""Orders of batches: every image once per epoch, the same under the same seed, shared out over processes."""

from __future__ import annotations

from itertools import chain

import pytest
import torch

from triptych.errors import DataError
from triptych.see.batches import Gathered, shuffled
from triptych.see.images import Images
from triptych.training.batches import loader


@pytest.mark.parametrize("count", [1, 2, 7, 8, 9, 16, 17, 64])
@pytest.mark.parametrize("shuffle", [True, False])
def test_every_image_comes_once_per_epoch_and_the_length_is_what_is_given(count: int, shuffle: bool) -> None:
    order = shuffled(count, 8, seed=3, shuffle=shuffle)
    batches = list(order)
    assert sorted(chain(*batches)) == list(range(count))
    assert len(batches) == len(order)
    if not shuffle:
        assert list(chain(*batches)) == list(range(count))


def test_no_training_batch_has_a_single_image_unless_asked_for() -> None:
    assert [len(batch) for batch in shuffled(17, 8)] == [8, 9]
    assert [len(batch) for batch in shuffled(17, 8, shuffle=False)] == [8, 8, 1]
    assert [len(batch) for batch in shuffled(3, 1)] == [1, 1, 1]


def test_the_order_is_a_function_of_seed_and_epoch() -> None:
    def drawn(seed: int, epoch: int) -> list[list[int]]:
        order = shuffled(50, 8, seed=seed)
        order.set_epoch(epoch)
        return list(order)

    assert drawn(0, 1) == drawn(0, 1)
    assert drawn(0, 1) != drawn(0, 2)
    assert drawn(0, 1) != drawn(1, 1)


@pytest.mark.parametrize("count", [16, 17, 19, 25])
def test_processes_share_the_batches_of_one(count: int) -> None:
    alone = [sorted(batch) for batch in shuffled(count, 8, seed=1)]
    shares = [list(shuffled(count, 8, seed=1, rank=rank, world_size=2)) for rank in range(2)]
    assert len(shares[0]) == len(shares[1])
    together = [sorted([*first, *second]) for first, second in zip(*shares, strict=True)]
    assert sorted(chain(*together)) == sorted(chain(*alone)) == list(range(count))


def test_more_processes_than_images_is_an_error() -> None:
    with pytest.raises(DataError, match=r"the number of images is 2; expected at least one for each of 3 processes"):
        shuffled(2, 8, world_size=3)
    with pytest.raises(DataError, match=r"training\.batch_size is 2; expected at least one for each of 3 processes"):
        shuffled(20, 2, world_size=3)


def test_a_batch_holds_the_images_of_its_numbers() -> None:
    pixels = torch.arange(10, dtype=torch.uint8).view(10, 1, 1, 1).expand(10, 3, 2, 2)
    images = Images(pixels, torch.arange(10) % 4, [str(n) for n in range(10)], [str(n) for n in range(10)])
    order = shuffled(10, 4, seed=5)
    for numbers, batch in zip(list(order), loader(Gathered(images), order), strict=True):
        assert batch.pixels.shape == (len(numbers), 3, 2, 2)
        assert batch.pixels[:, 0, 0, 0].tolist() == numbers
        assert batch.labels.tolist() == [n % 4 for n in numbers]
        assert batch.to("cpu").labels.equal(batch.labels)
