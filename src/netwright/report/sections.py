"""The report's sections on results: each takes parts of a run's record and gives HTML, or nothing without numbers."""

import base64
from typing import Any

from netwright.catalogue import METRICS
from netwright.language import say
from netwright.report import drawing, learning, markup
from netwright.report.markup import finite, listing, mapping, named, number, percent, score, section, text

GRID = 30  # more classes than this: the worst pairs instead of the matrix


def label(metric: str) -> str:
    """A metric's name in words."""
    known = {
        "loss": say("loss"), "accuracy": say("accuracy"), "balanced_accuracy": say("balanced accuracy"),
        "f1": say("F1"), "f1_macro": say("F1, macro"), "f1_micro": say("F1, micro"),
        "f1_weighted": say("F1, weighted"), "auc": say("area under the ROC curve"),
        "log_loss": say("log-loss"), "top_5": say("among the top 5"),
        "calibration_error": say("calibration error"), "mse": say("mean squared error"),
        "mae": say("mean absolute error"), "rmse": say("root mean squared error"),
        "r2": say("variance explained (R\u00b2)"), "train_loss": say("training loss"),
        "entity_f1": say("F1 of entities"), "token_accuracy": say("accuracy of tags"),
        "bits_per_character": say("bits per character"), "perplexity": say("perplexity"),
        "nll": say("nats per step"), "bleu": "BLEU", "chrf": "chrF", "rouge1": "ROUGE-1", "rougeL": "ROUGE-L",
        "exact_match": say("answered exactly"), "word_error_rate": say("word error rate"),
        "character_error_rate": say("character error rate"), "mase": say("scaled error (MASE)"),
        "eer": say("equal error rate"),
    }  # fmt: skip
    return known.get(metric, metric.replace("_", " "))


def baseline_label(name: str) -> str:
    """A baseline's name in words."""
    known = {
        "constant": say("constant answer"),
        "linear": say("linear model"),
        "nearest": say("nearest neighbours"),
        "network": say("this network"),
        "bag_of_words": say("bag of words"),
        "character_ngrams": say("character n-grams"),
        "most_frequent_tag": say("most frequent tag"),
        "unigram": say("token frequencies"),
        "ngram_5": say("smoothed 5-gram"),
        "independent_pitch": say("independent pitches"),
        "word_for_word": say("word for word"),
        "retrieval": say("retrieval"),
        "lead": say("first words"),
        "most_frequent_text": say("most frequent text"),
        "nearest_spectrum": say("nearest spectrum"),
        "spectrum_similarity": say("similar spectra"),
        "last_value": say("last value"),
        "seasonal_naive": say("seasonal naive"),
        "linear_autoregression": say("linear autoregression"),
    }
    return known.get(name, name.replace("_", " "))


def is_better(metric: str, first: float, second: float) -> bool | None:
    """Whether `first` beats `second` in that metric; None for a metric that the catalogue does not know."""
    if metric == "loss":
        return first < second
    if metric not in METRICS:
        return None
    return first > second if METRICS[metric].facts["better"] == "higher" else first < second


def scores_of(report: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """`{metric: {value, low, high}}` on the test examples, the loss among them."""
    found = {name: {"value": value} for name, value in mapping(report.get("test")).items()}
    found |= {name: mapping(entry) for name, entry in mapping(report.get("metrics")).items()}
    return {name: entry for name, entry in found.items() if finite(entry.get("value")) is not None}


def scores(report: dict[str, Any], main: str) -> str:
    """The main metric beside the baselines as a picture, and every metric as a table."""
    found, against = scores_of(report), {k: mapping(v) for k, v in mapping(report.get("baseline")).items()}
    if not found:
        return ""
    validation = mapping(report.get("validation"))
    head = [say("metric"), say("this network"), say("95 % interval")]
    head += [say("validation")] * bool(validation) + [baseline_label(name) for name in against]
    order = [name for name in found if name != "loss"] + ["loss"] * ("loss" in found)
    rows = []
    for name in order:
        entry = found[name]
        values = [entry["value"], *(mine.get(name) for mine in against.values())]
        cells = _emphasised(name, values)
        between = [_range(name, entry)] + [score(name, validation.get(name))] * bool(validation)
        rows.append([text(label(name)), cells[0], *between, *cells[1:]])
    caption = text(say("All scores on the test examples; the best of a row is bold."))
    grid = markup.table(caption, map(text, head), rows, range(1, len(head)))
    return section("scores", text(say("Scores")), _strip(found, against, main), grid, _meanings(order))


def members(report: dict[str, Any]) -> str:
    """Bagging: each member by itself, all together, and the estimate from examples out of the bag."""
    alone = [mapping(found) for found in listing(report.get("members"))]
    if not alone:
        return ""
    together, free = scores_of(report), mapping(report.get("out_of_bag"))
    metrics = mapping(free.get("metrics"))
    names = [name for name in together if name != "loss"]
    rows = [[text(say("together")), *(score(name, together[name]["value"]) for name in names)]]
    known = [mapping(metrics.get(name)) for name in names]
    rows.append(
        [text(say("out of bag")), *(score(name, entry.get("value")) for name, entry in zip(names, known, strict=True))]
    )
    for place, found in enumerate(alone, 1):
        rows.append([text(say("member {number}", number=place)), *(score(name, found.get(name)) for name in names)])
    caption = say("Scores on the test examples; out of bag: on {count} training examples, each answered by the members "
                  "that did not draw it.", count=number(free.get("examples")))  # fmt: skip
    head = [say("network"), *map(label, names)]
    grid = markup.table(text(caption), map(text, head), rows, range(1, len(head)))
    return section("members", text(say("Members")), grid)


def _range(name: str, entry: dict[str, Any]) -> str:
    low, high = finite(entry.get("low")), finite(entry.get("high"))
    return f"{score(name, low)} {text(say('to'))} {score(name, high)}" if low is not None and high is not None else ""


def _emphasised(name: str, values: list[Any]) -> list[str]:
    numbers = [value for value in map(finite, values) if value is not None]
    cells = []
    for value in map(finite, values):
        beaten = (
            value is None
            or len(numbers) < 2
            or any(is_better(name, other, value) is not False for other in numbers if other != value)
        )
        cells.append(score(name, value) if beaten else f"<b>{score(name, value)}</b>")
    return cells


def _strip(found: dict[str, dict[str, Any]], against: dict[str, dict[str, Any]], main: str) -> str:
    entry = found.get(main)
    if entry is None:
        return ""
    marks = [
        drawing.Mark(
            say("this network"), "network", entry["value"], finite(entry.get("low")), finite(entry.get("high"))
        )
    ]
    for name, mine in against.items():
        value = finite(mine.get(main))
        if value is not None:
            marks.append(drawing.Mark(baseline_label(name), "baseline", value))
    title = say("This network, with its 95 % interval, beside the baselines: {metric}", metric=label(main))
    shown = [score(main, mark.value) for mark in marks]
    picture = drawing.intervals(title, marks, label(main), shown, shares=main in markup.SHARES)
    return f'<figure class="chart"><figcaption>{text(title)}</figcaption>{picture}</figure>' if picture else ""


def _meanings(names: list[str]) -> str:
    known = [(name, METRICS[name]) for name in names if name in METRICS]
    if not known:
        return ""
    items = "".join(
        f"<dt>{text(label(name))} <code>{text(name)}</code></dt><dd>{text(say(part.summary))} "
        f'<span class="small">{text(part.formula)} \u00b7 {text(say("interval"))}: '
        f"{text(part.facts.get('interval', ''))}</span></dd>"
        for name, part in known
    )
    return markup.more(text(say("What the metrics mean")), f'<dl class="list">{items}</dl>')


def curves(rows: list[Any], report: dict[str, Any], main: str) -> str:
    """The training as curves, with its numbers in a table."""
    return section("learning", text(say("Learning curves")), *learning.blocks(rows, report, main, label))


def confusion(report: dict[str, Any]) -> str:
    """The confusion matrix, or the worst pairs where there are many classes."""
    table, classes = listing(report.get("confusion")), [str(name) for name in listing(report.get("classes"))]
    counts = [[max(0, int(finite(cell) or 0)) for cell in listing(row)] for row in table]
    if not counts or len(counts) != len(classes) or any(len(row) != len(counts) for row in counts):
        return ""
    inner = _matrix(counts, classes) if len(classes) <= GRID else ""
    title = say("Confusion matrix") if inner else say("Confusions")
    return section("confusion", text(title), inner, _pairs(counts, classes, folded=bool(inner)))


def _matrix(counts: list[list[int]], classes: list[str]) -> str:
    down = [sum(row[i] for row in counts) for i in range(len(counts))]
    longest, many = (12 if len(classes) > 5 else 20), len(classes) > 12

    def share(part: int, whole: int) -> str:
        if not whole:
            return markup.NONE
        return f"{100 * part / whole:.0f}" if many else percent(part / whole)

    heads = "".join(f'<th scope="col">{named(one, longest)}</th>' for one in classes)
    body = []
    for i, row in enumerate(counts):
        total = sum(row)
        cells = "".join(_cell(count, total, i == j) for j, count in enumerate(row))
        found = f'<td class="t">{share(row[i], total)}</td>'
        body.append(f'<tr><th scope="row">{named(classes[i], 20)}</th>{cells}{found}</tr>')
    right = "".join(f'<td class="t">{share(counts[i][i], down[i])}</td>' for i in range(len(down)))
    unit = " (%)" if many else ""
    body.append(f'<tr><th scope="row">{text(say("right when said"))}{unit}</th>{right}<td class="t"></td></tr>')
    caption = text(
        say("True classes in rows, predicted ones in columns; the stronger the shade, the larger the share of its row.")
    )
    kind = "heat many" if many else "heat"
    head = f'<tr><td class="t"></td>{heads}<th scope="col">{text(say("found"))}{unit}</th></tr>'
    inner = f"<caption><span>{caption}</span></caption><thead>{head}</thead><tbody>{''.join(body)}</tbody>"
    frame = f'class="wide" tabindex="0" role="region" aria-label="{text(say("Confusion matrix"))}"'
    return f'<div {frame}><table class="{kind}">{inner}</table></div>'


def _cell(count: int, total: int, diagonal: bool) -> str:
    """The shade stays light (dark at night), so that the text keeps its contrast in every cell."""
    if not count or not total:
        return '<td class="z">0</td>'
    share = count / total
    shade = 0.08 + 0.37 * share if diagonal else 0.12 + 0.33 * min(1.0, 2 * share)
    return f'<td class="{"h" if diagonal else "m"}" style="--a:{shade:.2f}">{count:,}</td>'


def _pairs(counts: list[list[int]], classes: list[str], folded: bool) -> str:
    found = [(n, i, j) for i, row in enumerate(counts) for j, n in enumerate(row) if i != j and n]
    found.sort(key=lambda pair: (-pair[0], pair[1], pair[2]))
    if not found:
        return f"<p>{text(say('No example is taken for another class.'))}</p>"
    rows = [
        [named(classes[i], 40), named(classes[j], 40), f"{n:,}", percent(n / sum(counts[i]))] for n, i, j in found[:20]
    ]
    head = [say("true class"), say("taken for"), say("examples"), say("share of the class")]
    grid = markup.table(text(say("The most frequent confusions")), map(text, head), rows, (2, 3), quiet=True)
    return markup.more(text(say("The most frequent confusions")), grid) if folded else grid


def residuals(report: dict[str, Any]) -> str:
    """Regression: prediction against truth, and how the errors are spread."""
    pairs = [tuple(pair) for pair in listing(report.get("scatter")) if len(listing(pair)) == 2]
    spread = mapping(report.get("residuals"))
    title = say("Prediction against truth")
    picture = drawing.scatter(title, pairs, say("truth"), say("prediction"))
    blocks = []
    if picture:
        blocks.append(f'<figure class="chart"><figcaption>{text(title)}</figcaption>{picture}</figure>')
    marks = mapping(spread.get("quantiles"))
    rows = [
        [text(say("mean")), number(spread.get("mean"))],
        [text(say("standard deviation")), number(spread.get("sd"))],
    ]
    rows += [[text(say("{q} % lie below", q=q)), number(value)] for q, value in marks.items()]
    if spread:
        grid = markup.table(text(say("Prediction minus truth")), map(text, [say("errors"), say("value")]), rows, (1,))
        blocks.append(f"<div>{grid}</div>")
    return section("residuals", text(say("Errors")), f'<div class="pair">{"".join(blocks)}</div>' if blocks else "")


def mistakes(report: dict[str, Any]) -> str:
    """The most confident mistakes: pictures where there are any, else a table."""
    found = [mapping(mistake) for mistake in listing(report.get("mistakes"))]
    regress = report.get("task", "classify") not in ("classify", "verify")
    title = say("Largest errors") if regress else say("Most confident mistakes")
    if not found:
        return ""
    pictures = [mistake for mistake in found if isinstance(mistake.get("picture"), bytes)]
    items = "".join(_figure(mistake) for mistake in pictures)
    blocks = [f'<ul class="gallery">{items}</ul>' if items else ""]
    rest = [mistake for mistake in found if not isinstance(mistake.get("picture"), bytes)]
    if rest:
        head = [say("example"), say("truth"), say("prediction"), say("error") if regress else say("probability")]
        rows = [
            [
                named(_where(one), 80),
                *(named(markup.words(one.get(k)), 40) for k in ("truth", "prediction")),
                _how_sure(one),
            ]
            for one in rest
        ]
        blocks.append(markup.table(text(title), map(text, head), rows, (3,), quiet=True))
    return section("mistakes", text(title), *blocks)


def _where(mistake: dict[str, Any]) -> str:
    return str(mistake.get("input") or say("example {position}", position=mistake.get("position", markup.NONE)))


def _how_sure(mistake: dict[str, Any]) -> str:
    if finite(mistake.get("probability")) is not None:
        return percent(mistake["probability"])
    return text(markup.words(mistake.get("error")))


def _figure(mistake: dict[str, Any]) -> str:
    source = base64.b64encode(mistake["picture"]).decode()
    truth, said = markup.words(mistake.get("truth")), markup.words(mistake.get("prediction"))
    told = text(say("{truth} taken for {prediction}", truth=truth, prediction=said))
    caption = (
        f"<span>{text(say('said'))} <b>{named(said, 30)}</b> {_how_sure(mistake)}</span>"
        f"<span>{text(say('is'))} <b>{named(truth, 30)}</b></span>"
        f'<span class="small">{named(_where(mistake), 40)}</span>'
    )
    picture = f'<img alt="{told}" src="data:image/png;base64,{source}">'
    return f"<li><figure>{picture}<figcaption>{caption}</figcaption></figure></li>"
