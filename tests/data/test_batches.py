"""Batches made ahead of need are the same batches in the same order, and nothing is left behind."""

import threading
from itertools import islice

import pytest
import torch

import netwright as nw
from netwright.data.batches import Batches, ahead
from netwright.parts.augmentations import read_augment


def batches(**more) -> Batches:
    data = nw.read("digits")
    augment = read_augment("crop pad=1, flip")
    return Batches(data, size=100, seed=3, device=torch.device("cpu"), augment=augment, **more)


def test_the_order_and_the_pixels_are_the_same():
    plain, early = batches(), batches(prefetch=True)
    for epoch in (0, 1):
        for one, two in zip(plain.epoch(epoch, start=200), early.epoch(epoch, start=200), strict=True):
            assert torch.equal(one.inputs, two.inputs)
            assert (one.examples == two.examples).all()
            assert torch.equal(one.targets, two.targets)


def test_an_error_comes_where_its_batch_would_have():
    def broken():
        yield from islice(batches().epoch(0), 2)
        raise OSError("the disk is gone")

    made, seen = ahead(broken()), []
    with pytest.raises(OSError, match="the disk is gone"):
        seen.extend(made)
    made, seen = ahead(broken()), [0, 0]
    assert [len(next(made)) for _ in seen] == [100, 100]


def test_a_reader_that_leaves_early_leaves_no_thread():
    made = ahead(batches().epoch(0))
    next(made)
    made.close()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("batches")]


def test_no_more_is_made_than_was_asked_for():
    asked = []

    def counted():
        for batch in batches().epoch(0):
            asked.append(len(batch))
            yield batch

    made = ahead(counted(), 2)
    next(made)
    made.close()
    assert 1 <= len(asked) <= 3
