"""Recordings: WAVE files in class folders, or with names that say what is heard, or beside a table of texts."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

import numpy as np

from netwright.catalogue import READERS, Range
from netwright.data.files.tree import Tally, Tree, printable
from netwright.data.pictures.decode import SUFFIXES, suffix
from netwright.data.sounds.encoder import fit_sounds
from netwright.data.sounds.gathering import Gathered, Place, gather, is_recording, places, strangers, to_one_rate
from netwright.data.sounds.joining import end_to_end, strings
from netwright.data.sounds.naming import FSDD, Pattern, chosen, guessed
from netwright.data.sounds.transcripts import fields_beside
from netwright.data.sounds.wav import HIGHEST_RATE, LOWEST_RATE
from netwright.data.source import Problem, Recordings, Source
from netwright.data.splits import split
from netwright.data.tables.files import ending
from netwright.errors import DataError, UsageError, hint
from netwright.language import say

Fields = dict[str, np.ndarray]
"""Field -> what it says of each recording (object arrays of str; empty where it says nothing)."""
TASKS = ("auto", "classify", "regress", "transcribe", "verify")


def recognises(tree: Tree) -> bool:
    """WAVE files, and not more tables or pictures than those; texts beside them may be as many."""
    names = [entry.name for entry in tree.entries]
    count = sum(map(is_recording, names))
    others = sum(bool(ending(name)) or suffix(name) in SUFFIXES for name in names)
    return count > 0 and count >= others


@READERS.add(
    recognises=recognises,
    given="recordings (WAVE files: class folders, names such as 7_jackson_32.wav, or a table transcripts.txt beside "
    "them; a folder, .tar, .tar.gz or .zip)",
    also=fit_sounds,
)
def recordings(
    tree: Tree,
    *,
    label: str = "auto",
    target: str = "",
    group: str = "",
    task: str = "auto",
    test_fields: str = "",
    rate: Annotated[int | Literal["auto"], Range(LOWEST_RATE, HIGHEST_RATE)] = "auto",
    join: Annotated[int, Range(1, 100)] = 1,
    joined: Annotated[int, Range(0, 10**7)] = 0,
    memory: Annotated[int, Range(1, 2**20)] = 2048,
    test: float | str = 0.2,
    validation: float = 0.1,
    split_seed: int = 0,
) -> Source:
    """Recordings with one class, speaker or text each, at one rate, one channel.

    Args:
        label: `auto`, or a pattern of names such as `{label}_{speaker}_{n}` (with `/` for whole paths): its fields can
            be target or group. `auto`: a table or texts beside the files, else class folders, else the names.
        target: the field to learn (`label`, `speaker`, `text` ...). Default: `speaker` to verify, `text` to
            transcribe where there is one, else `label`.
        group: a field whose equal values stay in one split, so that `speaker` keeps the speakers of the test unheard.
        test_fields: the test set by its fields: `n=0-4`, or `n=0-4; speaker=theo,lucas`.
        rate: samples a second that all are brought to; `auto`: the commonest of the training recordings.
        join: recordings of one split joined end to end to one example, its text theirs in a row.
        joined: training examples made so, 0 for as many as there are recordings; other splits in proportion.
        memory: MiB that all waves together may take.

    Recordings that cannot be read are reported and left out. Errors: DataError where nothing can be read or nothing
    says what is heard; UsageError for settings that do not fit the recordings.
    """
    if task not in TASKS:
        text = say("data.task = {task!r}; recordings are for: {possible}", task=task, possible=", ".join(TASKS))
        raise UsageError(text)
    tally, where = Tally(), printable(tree.path.name) or "recordings"
    names = [entry.name for entry in tree.entries if is_recording(entry.name)]
    strangers(tree, tally)
    lie = places(names)
    fields, folders = _fields(tree, names, lie, label, tally)
    task, field = _task(fields, target, task, join)
    found, fields = _heard(tree, names, fields, field, memory, tally)
    given = _given([lie[name].split for name in found.names], fields, test_fields)
    groups = _groups(fields, group)
    if join > 1:
        given = _divided(fields[field], given, groups, test, validation, split_seed)
    train = given.get("train", np.arange(len(found.names)))
    waves, rate = to_one_rate(found, 0 if rate == "auto" else rate, train, memory, tally, where)
    whole = _source(where, found, Recordings(waves, rate), fields, field, given)
    whole.task, whole.groups, whole.problems = task, groups, tally.problems()
    whole.classes = sorted(set(fields[field])) if folders and field == "label" else None
    return _joined(whole, join, joined, split_seed) if join > 1 else whole


def _heard(
    tree: Tree, names: Sequence[str], fields: Fields, field: str, memory: int, tally: Tally
) -> tuple[Gathered, Fields]:
    """The recordings whose `field` is known and that can be read, and what is known of them."""
    for name, value in zip(names, fields[field], strict=True):
        if not value:
            tally.add(printable(name), say("nothing says its {field!r}", field=field), say("left out"))
    good = {name: row for row, name in enumerate(names) if fields[field][row]}
    if not good:
        raise DataError(say("{path}: no recording has a {field!r}", path=printable(str(tree.path)), field=field))
    found = gather(tree, list(good), memory, tally)
    rows = np.array([good[name] for name in found.names])
    return found, {name: values[rows] for name, values in fields.items()}


def unlabelled(tree: Tree, *, memory: int = 2048) -> Source:
    """All recordings at a place, for prediction, without targets; each at the commonest rate among them."""
    tally, where = Tally(), printable(tree.path.name) or "recordings"
    names = [entry.name for entry in tree.entries if is_recording(entry.name)]
    if not names:
        raise DataError(say("{path} holds no recordings (.wav)", path=printable(str(tree.path))))
    found = gather(tree, names, memory, tally)
    waves, rate = to_one_rate(found, 0, np.arange(len(found.names)), memory, tally, where)
    shown = [printable(name) for name in found.names]
    return Source("recording", _short(where), Recordings(waves, rate), None, shown, problems=tally.problems())


def _fields(
    tree: Tree, names: Sequence[str], lie: Mapping[str, Place], label: str, tally: Tally
) -> tuple[Fields, bool]:
    """What is known of each recording, and whether its class is its folder."""
    rows: list[Mapping[str, str]] = [{} for _ in names]
    folders = any(place.folder for place in lie.values())
    beside = fields_beside(tree, names, tally) if label == "auto" else {}
    pattern = Pattern.of(label) if label != "auto" else None
    if beside:
        rows = [beside.get(name, {}) for name in names]
    elif pattern is None and not folders:
        pattern = guessed(names)
        if pattern is None:
            raise DataError(_nothing_said(tree, names))
        read_as = say("names read as {pattern}", pattern=pattern.text)
        what = say("the first field is the label (data.label=PATTERN decides)")
        tally.add(printable(tree.path.name) or "recordings", read_as, what)
    if pattern is not None:
        rows = [pattern.read(printable(lie[name].path)) or {} for name in names]
        if not any(rows):
            text = say("data.label = {text!r} fits none of the names, such as {name}", text=pattern.text,
                       name=printable(names[0]))  # fmt: skip
            raise DataError(text)
    known = dict.fromkeys(field for row in rows for field in row)
    fields = {field: _column([row.get(field, "") for row in rows]) for field in known}
    if folders and not fields.keys() & {"label", "text"}:
        return {"label": _column([printable(lie[name].folder) for name in names]), **fields}, True
    if not fields:
        raise DataError(_nothing_said(tree, names))
    return fields, False


def _column(values: Sequence[str]) -> np.ndarray:
    found = np.empty(len(values), object)
    found[:] = values
    return found


def _nothing_said(tree: Tree, names: Sequence[str]) -> str:
    text = say("{path}: nothing says what is heard on its recordings ({name}, ...).",
               path=printable(str(tree.path)), name=printable(names[0]))  # fmt: skip
    ways = say("Put each class into its own folder, name the files as {pattern} says, or put transcripts.txt beside.",
               pattern=FSDD)  # fmt: skip
    return f"{text}\n{ways}"


def _task(fields: Fields, target: str, task: str, join: int) -> tuple[str, str]:
    """The task where it is stated (else empty: the targets tell), and the field that is learnt."""
    if join > 1 and task not in ("auto", "transcribe"):
        text = say("data.join = {join} makes strings to transcribe; data.task = {task!r} takes recordings one by one",
                   join=join, task=task)  # fmt: skip
        raise UsageError(text)
    if target and target not in fields:
        text = say("data.target: the recordings have no field {name!r}.", name=target)
        raise UsageError(f"{text} {hint(target, fields)}")
    liked = {"verify": ("speaker", "label"), "transcribe": ("text", "label")}.get(task, ("label", "text"))
    field = target or next((name for name in liked if name in fields), next(iter(fields)))
    spoken = task == "transcribe" or join > 1 or (task == "auto" and field == "text")
    return "transcribe" if spoken else "", field


def _given(splits: Sequence[str], fields: Fields, test_fields: str) -> dict[str, np.ndarray]:
    """Positions of the splits that folders or `test_fields` state."""
    held = np.array(splits)
    if test_fields:
        if held.any():
            raise UsageError(say("data.test_fields = {text!r}, but folders divide the recordings", text=test_fields))
        tested = chosen({name: values.tolist() for name, values in fields.items()}, test_fields)
        return {"train": np.flatnonzero(~tested), "test": np.flatnonzero(tested)}
    return {name: np.flatnonzero(held == name) for name in ("train", "validation", "test") if name in splits}


def _groups(fields: Fields, group: str) -> np.ndarray | None:
    """The group of each recording; one without is a group of its own."""
    if not group:
        return None
    if group not in fields:
        text = say("data.group: the recordings have no field {name!r}.", name=group)
        raise UsageError(f"{text} {hint(group, fields)}")
    return _column([value or f"(row {row})" for row, value in enumerate(fields[group])])


def _divided(
    targets: np.ndarray, given: dict[str, np.ndarray], groups: np.ndarray | None,
    test: float | str, validation: float, seed: int,
) -> dict[str, np.ndarray]:  # fmt: skip
    """The splits that `train` would make, made before clips are joined so that none is heard in two of them."""
    if isinstance(test, str):
        text = say("data.join divides the recordings itself; data.test = {test!r} cannot be joined to them", test=test)
        raise UsageError(text)
    strata = np.unique(targets.astype(str), return_inverse=True)[1]
    made = split(len(targets), given, strata=strata, groups=groups, test=test, validation=validation, seed=seed)
    for name, share in (("test", test), ("validation", validation)):
        if share and not len(made[name]):
            text = say(
                "data.join: none of {count} recordings is left for the {split} split", count=len(targets), split=name
            )
            text = f"{text}; {say('data.{split}=0 goes without', split=name)}"
            raise DataError(text)
    return made


def _source(
    where: str, found: Gathered, examples: Recordings, fields: Fields, field: str, given: dict[str, np.ndarray]
) -> Source:
    facts: dict[str, Any] = {"rate": examples.rate, "field": field, "fields": fields}
    shown = [printable(name) for name in found.names]
    return Source("recording", _short(where), examples, fields[field], shown, given, facts=facts)


def _joined(whole: Source, length: int, count: int, seed: int) -> Source:
    """Examples of `length` recordings each, the splits kept apart."""
    clips: Any = whole.examples
    assert whole.targets is not None
    waves: list[np.ndarray] = []
    texts: list[str] = []
    ids: list[str] = []
    given: dict[str, np.ndarray] = {}
    made = strings(whole.given, length, count, seed)
    for name, rows in made.items():
        given[name] = np.arange(len(ids), len(ids) + len(rows))
        for row in rows.tolist():
            waves.append(end_to_end([clips.waves[place] for place in row]))
            texts.append(" ".join(whole.targets[place] for place in row))
            ids.append(" + ".join(whole.ids[place] for place in row))
    counts = ", ".join(f"{name} {len(rows):,}" for name, rows in made.items())
    told = Problem(whole.name, say("recordings joined, {length} an example: {counts}", length=length, counts=counts),
                   say("made by data.split_seed; none is heard in two splits"))  # fmt: skip
    facts = {key: value for key, value in whole.facts.items() if key != "fields"}
    return Source(
        "recording", whole.name, Recordings(waves, clips.rate), _column(texts), ids, given,
        problems=[*whole.problems, told], task="transcribe", facts={**facts, "join": length},
    )  # fmt: skip


def _short(name: str) -> str:
    for last in (".tar.gz", ".tgz", ".tar", ".zip", ".wav"):
        if name.lower().endswith(last) and len(name) > len(last):
            return name[: -len(last)]
    return name
