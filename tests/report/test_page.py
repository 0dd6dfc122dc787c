"""The HTML page: complete in itself, escaped, honest about baselines, readable, and never brought down by gaps."""

import base64
import copy
import io
import re
from html.parser import HTMLParser
from importlib.resources import files

import numpy as np
import pytest
from PIL import Image

from netwright.errors import UsageError
from netwright.language import speak
from netwright.report.judge import judge
from netwright.report.markup import named, number, percent, score, seconds, text, words
from netwright.report.page import page, png

HOSTILE = "</style></title><script>alert('x')</script>\" onload='x' \u202e \x00 \ud800"
VOID = {"meta", "img", "br", "line", "circle", "rect", "polyline"}


@pytest.fixture(autouse=True)
def english():
    speak("en")
    yield
    speak(None)


def record(classes: int = 3, n: int = 60, name: str = "class {i}") -> dict:
    """A run with everything in it."""
    rng = np.random.default_rng(0)
    truth = rng.integers(0, classes, n)
    p = rng.random((n, classes))
    p[np.arange(n), truth] += 0.4
    judged = judge("classify", truth, p / p.sum(axis=1, keepdims=True), [name.format(i=i) for i in range(classes)])
    report = judged.json() | {
        "task": "classify",
        "network": "mlp",
        "parameters": 4810,
        "epochs": 3,
        "best_epoch": 2,
        "seconds": 3.8,
        "test": {"loss": 0.5, "accuracy": judged.metrics["accuracy"]["value"]},
        "validation": {"loss": 0.4, "accuracy": 0.8},
        "baseline": {"constant": {"accuracy": 0.2}, "linear": {"accuracy": 0.3}},
        "findings": [
            {"fault": "E2", "name": "rate too low", "where": "optimizer", "evidence": {"ratio": 1e-5},
             "harm": "slow", "remedies": [{"patch": {"optimizer.lr": 0.1}, "why": "faster"}]},
        ],
        "notes": [{"fault": "N1", "name": "still moving", "where": "all", "evidence": {}, "harm": "", "remedies": []}],
    }  # fmt: skip
    picture = png(np.full((1, 4, 4), 7, np.uint8), 8)
    report["mistakes"] = [
        {**mistake, "input": f"row {i}", "picture": picture if i % 2 else None}
        for i, mistake in enumerate(report["mistakes"])
    ]
    curves = [
        {"epoch": e, "step": 10 * e, "train_loss": 1 / e, "validation": {"loss": 1.1 / e, "accuracy": 1 - 0.5 / e},
         "lr": 0.1 / e, "gradient_norm": 0.5, "seconds": 0.1 * e}
        for e in (1, 2, 3)
    ]  # fmt: skip
    layer = {"name": "hidden", "kind": "linear", "output": [64], "parameters": 4160, "macs": 4096,
             "receptive_field": {"size": [8, 8]}, "formula": "64 x 64 + 64"}  # fmt: skip
    return {
        "name": "run-7",
        "run": {"state": "finished", "command": ["netwright", "train"], "environment": {"python": "3.11"}},
        "recipe": 'seed = 0\n[data]\npath = "digits"\n',
        "report": report,
        "curves": curves,
        "anatomy": {"network": "mlp", "parameters": 4810, "macs": 4736, "layers": [layer]},
        "data": {
            "name": "digits", "kind": "image", "task": "classify", "examples": {"train": 100, "test": 60},
            "inputs": {"kind": "image", "channels": 1, "height": 8, "width": 8},
            "outputs": {"kind": "class", "count": 3}, "classes": [{"name": "a", "count": 5}, {"name": "b", "count": 7}],
            "problems": [{"where": "a.png", "what": "cut short", "action": "left out"}],
        },
    }  # fmt: skip


class Tree(HTMLParser):
    """Checks that elements nest, and collects what the page refers to."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.names: set[str] = set()
        self.attributes: list[tuple[str, str | None]] = []
        self.feed(source)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.names.add(tag)
        self.attributes += attrs
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.names.add(tag)
        self.attributes += attrs

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def plain(source: str) -> str:
    """The page as a person reads it."""
    return " ".join(re.sub(r"<[^>]+>", " ", source.split("</style>")[1]).split())


def test_the_page_holds_every_section_of_the_run():
    source = page(record())
    anchors = re.findall(r'<section id="([a-z]+)"', source)
    assert anchors == [
        "scores",
        "learning",
        "confusion",
        "mistakes",
        "findings",
        "data",
        "network",
        "recipe",
        "environment",
    ]
    assert re.findall(r'<a href="#([a-z]+)"', source) == anchors
    shown = plain(source)
    found = [
        "run-7",
        "4,810",
        "rate too low",
        "optimizer.lr=0.1 faster",
        "still moving",
        "cut short",
        "image 1 × 8 × 8",
    ]
    for expected in [*found, "64 x 64 + 64", "path = &quot;digits&quot;", "environment python 3.11", "8×8"]:
        assert expected in shown, expected


def test_nothing_is_fetched_and_nothing_runs():
    source = page(record())
    tree = Tree(source)
    assert "default-src 'none'; style-src 'unsafe-inline'; img-src data:" in source
    assert not tree.names & {"script", "link", "iframe", "object", "embed", "form", "base", "audio", "video"}
    for attribute, value in tree.attributes:
        assert not attribute.startswith("on")
        if attribute in ("src", "href"):
            assert value.startswith(("data:image/png;base64,", "#"))
    style = source.split("<style>")[1].split("</style>")[0]
    assert "http:" not in source
    assert "https:" not in source
    assert "url(" not in style
    assert "@import" not in style


def test_names_from_the_data_are_nothing_but_text():
    run = record(name=HOSTILE + "{i}")
    run["report"]["findings"][0] = dict.fromkeys(("fault", "name", "where", "evidence", "harm"), HOSTILE)
    run |= {"name": HOSTILE, "recipe": HOSTILE, "run": {HOSTILE: HOSTILE}, "anatomy": {"layers": [{"name": HOSTILE}]}}
    run["report"] |= {"network": HOSTILE, "baseline": {HOSTILE: {"accuracy": 0.1}}}
    run["data"] = {"classes": [{"name": HOSTILE, "count": 4}], "problems": [{"where": HOSTILE, "what": HOSTILE}]}
    source = page(run)
    tree = Tree(source)
    assert "script" not in tree.names
    assert not any(name.startswith("on") for name, _ in tree.attributes)
    assert "\x00" not in source
    assert source.encode("utf-8")
    assert "&lt;script&gt;" in source


def test_the_headline_gives_value_interval_and_baseline_in_words():
    run = record()
    run["report"]["metrics"]["accuracy"] = {"value": 0.9, "low": 0.85, "high": 0.94}

    def against(**baseline: float) -> str:
        run["report"]["baseline"] = {name: {"accuracy": value} for name, value in baseline.items()}
        return plain(page(run)).replace("\u202f", " ")

    shown = against(constant=0.1, linear=0.8)
    assert "90.0 % of 60 test examples are classified correctly (95 % interval 85.0 % to 94.0 %)." in shown
    assert "ahead of the baselines The best baseline, linear model, reaches 80.0 %." in shown
    assert "behind the baseline A linear model does better: 97.0 %." in against(linear=0.97)
    assert "The nearest neighbours do better: 92.0 %. The difference is within the interval" in against(nearest=0.92)
    assert "A constant answer does better: 95.0 %." in against(constant=0.95, linear=0.2)
    assert "not clearly ahead The best baseline, nearest neighbours, reaches 88.0 %; that is within" in against(
        nearest=0.88
    )
    assert "level with the baseline" in against(linear=0.9)
    assert "baseline" not in against().split("Scores")[0]


def test_a_lower_error_is_the_better_one_in_regression():
    truth = np.arange(40.0)
    judged = judge("regress", truth, truth + np.tile([1.0, -1.0], 20))
    report = {"task": "regress", **judged.json(), "baseline": {"linear": {"rmse": 0.5, "r2": 1.0}}}
    source = page({"report": report})
    assert "A prediction is off by 1 (root mean square) on 40 test examples" in plain(source)
    assert "A linear model does better: 0.5000." in plain(source)
    assert re.findall(r'<section id="([a-z]+)"', source) == ["scores", "residuals", "mistakes"]
    assert source.count('class="spot"') == 40
    report["baseline"]["linear"]["rmse"] = 3.0
    assert "ahead of the baselines" in page({"report": report})


def test_the_confusion_matrix_shows_counts_and_many_classes_show_the_worst_pairs():
    run = record()
    run["report"] |= {"confusion": [[8, 2, 0], [0, 5, 0], [1, 0, 4]], "classes": ["ant", "bee", "cow"]}
    cells = re.findall(r'<td class="([hmz])"[^>]*>(\d+)</td>', page(run))
    assert [int(count) for _, count in cells] == [8, 2, 0, 0, 5, 0, 1, 0, 4]
    assert "".join(kind for kind, _ in cells) == "hmzzhzmzh"
    many = page(record(classes=40, n=400))
    assert '<table class="heat' not in many
    assert "true class taken for" in plain(many)
    run["report"]["confusion"] = [[5, 0, 0], [0, 5, 0], [0, 0, 5]]
    assert "No example is taken for another class." in page(run)


def test_mistakes_are_pictures_with_captions_and_alternative_text():
    source = page(record())
    alternatives = re.findall(r'<img alt="([^"]+)" src="data:image/png;base64,([^"]+)"', source)
    assert alternatives
    assert all(" taken for " in told for told, _ in alternatives)
    assert Image.open(io.BytesIO(base64.b64decode(alternatives[0][1]))).size == (32, 32)


def test_a_page_of_nothing_is_still_a_page():
    for run in ({}, {"report": {}}, {"report": None, "curves": None, "data": None, "anatomy": None, "run": None}):
        source = page(run)
        Tree(source)
        assert "<section" not in source
        assert "no test example was judged" in source


def variants(value, place=()):
    """Every place in a JSON value."""
    yield place
    for key in value if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ():
        yield from variants(value[key], (*place, key))


def test_gaps_and_wrong_kinds_leave_out_their_part_only():
    run = record(n=12)
    run["report"]["mistakes"] = run["report"]["mistakes"][:2]
    places = [place for place in variants(run) if place]
    for number_, place in enumerate(places):
        for wrong in (None, "x", [], {}, [None], -1, float("nan"))[number_ % 2 :: 2]:
            broken = copy.deepcopy(run)
            target = broken
            for key in place[:-1]:
                target = target[key]
            target[place[-1]] = wrong
            assert "</html>" in page(broken), place


def test_log_points_between_epochs_lie_between_them():
    run = record()
    run["curves"] = [
        {"epoch": 1, "step": 5, "loss": 2.0},
        {"epoch": 1, "step": 10, "train_loss": 1.5, "validation": {"loss": 1}},
        {"epoch": 2, "step": 15, "loss": 1.2},
        {"epoch": 2, "step": 20, "train_loss": 1.1, "validation": {"loss": 1}},
    ]
    paths = [re.findall(rf'class="line {kind}" points="([^"]+)"', page(run))[0] for kind in ("batch", "train")]
    x = sorted(float(spot.split(",")[0]) for path in paths for spot in path.split())
    assert len(x) == 4
    assert np.allclose(np.diff(x), np.diff(x)[0], atol=0.2)


def test_the_page_says_its_language(monkeypatch: pytest.MonkeyPatch):
    assert '<html lang="en">' in page(record())
    monkeypatch.setattr("netwright.language._chinese", lambda: {"Scores": "成绩"})
    speak("zh")
    source = page(record())
    assert '<html lang="zh-Hans">' in source
    assert ">成绩</h2>" in source


def luminance(colour: tuple[float, ...]) -> float:
    parts = [c / 255 / 12.92 if c / 255 <= 0.04045 else ((c / 255 + 0.055) / 1.055) ** 2.4 for c in colour]
    return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2]


def contrast(a: tuple[float, ...], b: tuple[float, ...]) -> float:
    high, low = sorted((luminance(a), luminance(b)), reverse=True)
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("mode", [0, 1])
def test_texts_reach_wcag_aa_by_day_and_by_night(mode: int):
    style = files("netwright.report").joinpath("style.css").read_text(encoding="utf-8")
    found = dict(re.findall(r"--([a-z-]+): (#[0-9a-f]{6}|\d+ \d+ \d+)", style.split(":root {")[1 + mode].split("}")[0]))
    colours = {
        name: tuple(int(v[i : i + 2], 16) for i in (1, 3, 5)) if v[0] == "#" else tuple(map(int, v.split()))
        for name, v in found.items()
    }
    for back in ("paper", "card", "faint"):
        for front in ("ink", "soft", "net"):
            assert contrast(colours[front], colours[back]) >= 4.5, (front, back)
    for front in ("good", "warn", "bad"):
        assert contrast(colours[front], colours[f"{front}-back"]) >= 4.5, front
    for shade in ("hit", "miss"):  # the strongest cell of the matrix, shade at 0.45 over the card
        cell = tuple(0.45 * a + 0.55 * b for a, b in zip(colours[shade], colours["card"], strict=True))
        assert contrast(colours["ink"], cell) >= 4.5, shade
    for graphic in ("net", "second", "other"):
        assert contrast(colours[graphic], colours["card"]) >= 3, graphic


def test_no_shade_of_the_matrix_is_stronger_than_the_one_checked():
    shades = [float(shade) for shade in re.findall(r"--a:([\d.]+)", page(record(classes=5, n=300)))]
    assert shades
    assert max(shades) <= 0.45


@pytest.mark.parametrize("channels", [1, 2, 3, 4, 7])
def test_pictures_are_enlarged_without_smoothing(channels: int):
    picture = np.random.default_rng(0).integers(0, 256, (channels, 3, 2), dtype=np.uint8)
    found = np.asarray(Image.open(io.BytesIO(png(picture, 4))))
    expected = picture[: {1: 1, 3: 3, 4: 4}.get(channels, 1)].transpose(1, 2, 0).repeat(4, 0).repeat(4, 1)
    np.testing.assert_array_equal(found.reshape(12, 8, -1), expected)


def test_what_is_no_picture_is_refused():
    for wrong in (np.zeros((2, 2), np.uint8), np.zeros((1, 2, 2)), np.zeros((1, 0, 2), np.uint8)):
        with pytest.raises(UsageError, match="a picture is uint8"):
            png(wrong)


def test_numbers_as_people_read_them():
    assert [number(v) for v in (0, 12345, 0.123456, 1234.56, 1e-7, -2.0, True, None, float("nan"), 10**400)] == [
        "0", "12,345", "0.1235", "1,235", "1e-07", "-2", "–", "–", "–", "–",
    ]  # fmt: skip
    shares = (0, 1, 0.5, 0.99951, 0.9999999, 0.0004, None)
    assert [percent(v).replace("\u202f", "") for v in shares] == [
        "0%", "100%", "50.0%", "99.95%", "100.0000%", "0.04%", "–",
    ]  # fmt: skip
    assert [seconds(v).replace("\u202f", " ") for v in (0.0481, 12.34, 245, 7620, None)] == [
        "48 ms", "12.3 s", "4 min 05 s", "2 h 07 min", "–",
    ]  # fmt: skip
    assert (score("accuracy", 0.5), score("auc", 0.98765), score("mse", 1234.5)) == ("50.0\u202f%", "0.9877", "1,234")
    assert words({"a": [1, None], "b": True}) == "a 1, –, b yes"
    assert text("<a\x07&'\">") == "&lt;a&amp;&#x27;&quot;&gt;"
    assert named("abcdef", 4) == '<bdi title="abcdef">abc\u2026</bdi>'
