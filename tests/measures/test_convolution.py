"""Convolution in loops and by Fourier transform against torch and numpy; visits counted one window at a time."""

import itertools

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from netwright.errors import UsageError
from netwright.measures.convolution import convolve, convolve_fft, positions, visits
from netwright.parts.windows import output_size

DRAW = np.random.default_rng(3)
TWELVE = range(1, 13)


def test_the_loop_equals_torch_on_random_cases():
    tried = 0
    while tried < 60:
        k, s, d, n = (tuple(int(v) for v in DRAW.integers(1, high, 2)) for high in (5, 4, 4, 10))
        p, groups = tuple(int(v) for v in DRAW.integers(0, 4, 2)), int(DRAW.integers(1, 4))
        if any(n[i] + 2 * p[i] < d[i] * (k[i] - 1) + 1 for i in (0, 1)):
            continue
        x = DRAW.normal(size=(2 * groups, *n))
        w, b = DRAW.normal(size=(3 * groups, 2, *k)), DRAW.normal(size=3 * groups)
        pad = [[0, 0], [p[0], p[0]], [p[1], p[1]], [0, 0]]
        found = convolve(x, w, b, s, pad, d, groups)
        theirs = F.conv2d(*map(torch.from_numpy, (x[None], w, b)), s, p, d, groups)[0]
        np.testing.assert_allclose(found, theirs, atol=1e-12)
        tried += 1


def test_the_three_cases_of_the_notes():
    grey, rgb = DRAW.normal(size=(1, 5, 5)), DRAW.normal(size=(3, 5, 5))
    one, deep, many = DRAW.normal(size=(1, 1, 3, 3)), DRAW.normal(size=(1, 3, 3, 3)), DRAW.normal(size=(4, 3, 3, 3))
    assert convolve(grey, one, [0.5]).shape == (1, 3, 3)
    assert one.size + 1 == 10  # E-47: the depth is 1, the bias a number of its own
    assert deep.size + 1 == 28
    single = sum(convolve(rgb[c : c + 1], deep[:, c : c + 1]) for c in range(3)) + 0.25
    np.testing.assert_allclose(convolve(rgb, deep, [0.25]), single)
    stacked = np.concatenate([convolve(rgb, many[o : o + 1], [o]) for o in range(4)])
    np.testing.assert_allclose(convolve(rgb, many, range(4)), stacked)
    assert convolve(grey, one, stride=2).shape == (1, 2, 2)
    assert convolve(grey, np.ones((1, 1, 5, 5)), pad=2).shape == (1, 5, 5)


def test_a_window_worked_by_hand():
    x = np.arange(9.0).reshape(1, 3, 3)
    kernel = np.array([[[[1.0, 2.0], [3.0, 4.0]]]])
    assert convolve(x, kernel, [10]).tolist() == [[[10 + 27, 10 + 37], [10 + 57, 10 + 67]]]
    assert convolve(x, kernel, flip=True)[0, 0, 0] == 4 * 0 + 3 * 1 + 2 * 3 + 1 * 4


@pytest.mark.parametrize(("n", "k"), [((5, 7), (3, 3)), ((8, 8), (1, 4)), ((2, 3), (5, 2)), ((12, 9), (12, 9))])
def test_the_fourier_transform_equals_the_direct_full_convolution(n, k):
    x, kernel = DRAW.normal(size=n), DRAW.normal(size=k)
    direct = convolve(x[None], kernel[None, None], pad="full", flip=True)[0]
    np.testing.assert_allclose(convolve_fft(x, kernel), direct, atol=1e-10)


def test_one_dimension_equals_numpy():
    x, kernel = DRAW.normal(size=9), DRAW.normal(size=4)
    np.testing.assert_allclose(convolve_fft(x[None], kernel[None])[0], np.convolve(x, kernel), atol=1e-12)


def test_an_edge_kernel_peaks_on_the_edge():
    x = np.zeros((1, 6, 8))
    x[:, :, 5:] = 1
    found = convolve(x, np.array([[[[-1.0, 1.0]]]]))[0]
    assert (found.argmax(1) == 4).all()
    assert found.sum() == 6


def counted(n, k, s, before, after):
    """Windows over each pixel of a line, one at a time."""
    hits = [0] * n
    for start in range(-before, n + after - k + 1, s):
        for place in range(start, start + k):
            if 0 <= place < n:
                hits[place] += 1
    return hits


def test_visits_equal_a_count_for_every_size_up_to_twelve():
    for n, k, s in itertools.product(TWELVE, TWELVE, TWELVE):
        total = max((-(-n // s) - 1) * s + k - n, 0)
        sides = {"full": (k - 1, k - 1), "same": (total // 2, total - total // 2)} | (
            {"valid": (0, 0)} if k <= n else {}
        )
        for pad, (before, after) in sides.items():
            found = visits((n, 1), (k, 1), (s, 1), pad)
            assert found[:, 0].tolist() == counted(n, k, s, before, after), (n, k, s, pad)


def test_full_padding_visits_every_pixel_equally_at_stride_1_only():
    """E-54."""
    for n, k in itertools.product(range(1, 8), range(1, 6)):
        assert (visits(n, k, pad="full") == k * k).all()
    assert len(np.unique(visits(6, 3, 2, "full"))) > 1


def test_same_padding_visits_the_border_less_often():
    found = visits(5, 3, pad="same")
    assert found.tolist()[0] == [4, 6, 6, 6, 4]
    assert (found[0] < found[2]).all()
    assert found[2, 2] == 9
    assert visits((7, 1), (3, 1), dilation=(2, 1))[:, 0].tolist() == [1, 1, 2, 1, 2, 1, 1]


@pytest.mark.parametrize(
    ("x", "kernel", "given", "words"),
    [
        ((3, 5, 5), (4, 2, 3, 3), {}, "the kernels are 2 deep, but 3 channels in 1 groups need 3"),
        ((3, 5, 5), (4, 3, 3, 3), {"groups": 2}, "3 input and 4 output channels do not divide into 2 groups"),
        ((3, 5, 5), (4, 3, 6, 3), {}, r"floor\(\(5 \+ 2\*0 - 6\)/1\) \+ 1 = 0"),
        ((5, 5), (3, 3), {}, r"the shapes \(5, 5\) and \(3, 3\) came"),
        ((1, 5, 5), (1, 1, 3, 3), {"stride": 0}, "stride = 0"),
        ((1, 5, 5), (1, 1, 3, 3), {"pad": "smae"}, "pad = 'smae'"),
    ],
)
def test_what_does_not_fit_is_refused_with_numbers(x, kernel, given, words):
    with pytest.raises(UsageError, match=words):
        convolve(np.zeros(x), np.zeros(kernel), **given)


def test_fourier_wants_single_maps():
    with pytest.raises(UsageError, match="one map and one kernel"):
        convolve_fft(np.zeros((1, 3, 3)), np.zeros((3, 3)))


@pytest.mark.parametrize(
    ("given", "expected"),
    [((5, 3), [0, 1, 2]), ((5, 3, 2), [0, 2]), ((6, 2, 3), [0, 3]), ((4, 3, 1, 1), [-1, 0, 1, 2]), ((2, 3), [])],
)
def test_positions_skip_all_but_every_strideth_pixel(given, expected):
    assert positions(*given) == expected
    assert len(expected) == max(0, output_size(*given))
