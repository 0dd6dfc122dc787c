"""The seed inventory's rows on sequences: tasks of section A, structures and memory of section K, each by its number.

Cells and attention (S-212 to S-216, S-223, S-226 to S-232, S-236) stand in tests/parts/test_cells_inventory.py.
"""

import itertools
import json
import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from sklearn.metrics import roc_curve

import netwright as nw
from netwright.catalogue import CELLS, LOSSES, METRICS, NETWORKS
from netwright.data.music.abc import parse
from netwright.data.music.chords import tokens_of
from netwright.data.music.writing import written
from netwright.deploy.generate import Manner, chat, generate
from netwright.measures.time_gradients import gradient_over_time
from netwright.measures.unrolled import calls_of, unrolled
from netwright.parts.chains import LinearChain
from netwright.parts.decoding import greedy, sample
from netwright.parts.metrics import Likelihoods
from netwright.parts.sequences import Sequences
from netwright.report.baselines.pitches import independent_pitches, independent_voices
from netwright.training.objective import Batch, Draw, objective_of, per_token, token_terms

END, START = 2, 3
TEXT = {"kind": "text", "tokens": "word", "vocabulary": 20, "steps": 8}
SOUND = {"kind": "sequence", "steps": 20, "features": 6}


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def tokens(rows, steps, seed=0, high=20):
    return torch.randint(4, high, (rows, steps), generator=torch.Generator().manual_seed(seed))


def even(values):
    return Sequences(values, torch.full((len(values),), values.shape[1]))


def network(name, inputs, count, **given):
    torch.manual_seed(0)
    outputs = {"kind": "number" if name == "forecaster" else "class", "count": count}
    dropout = {"dropout": 0.0} if "dropout" in NETWORKS[name].settings else {}
    return NETWORKS[name](inputs, outputs, **{**dropout, **given})


def teach(net, inputs, targets, task="classify", loss="cross_entropy", steps=60, lr=0.02):
    """Some steps of Adam on one batch."""
    objective, optimizer = objective_of(net, task, loss, {}), torch.optim.Adam(net.parameters(), lr=lr)
    for step in range(steps):
        optimizer.zero_grad()
        objective(net, Batch(inputs, targets, None, np.arange(len(inputs)), 0), Draw(0, step)).loss.backward()
        optimizer.step()
    return net.eval()


# A. tasks -------------------------------------------------------------------------------------------------------

GOOD, BAD = "a fine film with heart", "a dull film without wit"


@pytest.fixture(scope="module")
def remarks(tmp_path_factory):
    """Labelled texts whose label is one word of theirs, and a run on them."""
    home = tmp_path_factory.mktemp("remarks")
    rows = [f"{'ham' if place % 3 else 'spam'}\t{GOOD if place % 3 else BAD} {place}" for place in range(90)]
    (home / "mail.tsv").write_text("label\ttext\n" + "\n".join(rows) + "\n")
    small = {"name": "text_cnn", "channels": 8, "embedding": 8}
    return nw.train(home / "mail.tsv", small, epochs=50, out=home / "run", quiet=True)


def test_s008_spam_is_told_from_ham_beside_a_bag_of_words(remarks):
    assert remarks.test["f1"] >= remarks.baseline["bag_of_words"]["f1"] - 0.02
    assert remarks.test["f1"] > 0.9
    assert [row["prediction"] for row in remarks.predict([BAD, GOOD])] == ["spam", "ham"]


def test_s009_s031_a_series_is_foretold_without_a_look_ahead(tmp_path):
    small = {"name": "forecaster", "hidden": 16, "base": "last"}
    run = nw.train(nw.read("ar", steps=1200), small, epochs=20, out=tmp_path / "run", quiet=True)
    assert run.test["mae"] < run.baseline["last_value"]["mae"]
    days = np.arange("2020-01-01", "2020-07-19", dtype="datetime64[D]")
    values = np.sin(np.arange(len(days)) / 3) + 5
    read = []
    for change in (0.0, 100.0):  # the future of the training range, shifted
        values[-30:] += change
        rows = [f"{day},{value:.6f}" for day, value in zip(days, values, strict=True)]
        (tmp_path / "series.csv").write_text("date,value\n" + "\n".join(rows) + "\n")
        read.append(nw.read(tmp_path / "series.csv", window=6, horizon=2))
    first, second = read
    assert torch.equal(first.input_tensor("train"), second.input_tensor("train"))
    assert torch.equal(first.target_tensor("train"), second.target_tensor("train"))
    assert not torch.equal(first.target_tensor("test"), second.target_tensor("test"))


def test_s021_ctc_equals_torch_and_reads_ten_utterances_without_a_mistake():
    scores, target = draw(2, 7, 4), torch.tensor([[1, 2, 2], [3, 1, 0]])
    found = LOSSES["ctc"](scores, Sequences(target, torch.tensor([3, 2])))
    wanted = F.ctc_loss(
        scores.log_softmax(2).transpose(0, 1), target, torch.tensor([7, 7]), torch.tensor([3, 2]), reduction="none"
    )
    torch.testing.assert_close(found, wanted)
    said = torch.tensor([[a, b, c] for a, b, c in itertools.product((1, 2, 3), repeat=3)][:10])
    sounds = F.one_hot(said, 6).float().repeat_interleave(4, 1) + 0.05 * draw(10, 12, 6)
    net = network("ctc", {**SOUND, "steps": 12}, 4, hidden=16, channels=16, layers=1)
    teach(net, even(sounds), even(said), "transcribe", "ctc", steps=120)
    assert net.answer(even(sounds)) == said.tolist()


def test_s022_speakers_and_the_equal_error_rate():
    who = torch.arange(12) % 3
    sounds = draw(12, 20, 6, seed=1) * 0.5 + F.one_hot(who, 6)[:, None]
    net = teach(network("speaker", SOUND, 3, channels=8, embedding=8), even(sounds), who, steps=40)
    vectors = F.normalize(net.embed(even(draw(12, 20, 6, seed=2) * 0.5 + F.one_hot(who, 6)[:, None])).detach(), dim=1)
    pairs = list(itertools.combinations(range(12), 2))
    same = np.array([int(who[a] == who[b]) for a, b in pairs])
    scores = np.array([float(vectors[a] @ vectors[b]) for a, b in pairs])
    assert METRICS["eer"](same, scores) < 0.05
    noisy = scores + np.random.default_rng(0).normal(size=len(scores))
    wrong, right, _ = roc_curve(same, noisy)
    assert abs(METRICS["eer"](same, noisy) - wrong[np.argmin(abs(wrong - (1 - right)))]) < 0.05


def test_s024_the_perplexity_of_a_uniform_model_is_its_vocabulary():
    net = network("word_lm", TEXT, 20, hidden=8, tied=False)
    with torch.no_grad():
        net.out.weight.zero_()
        net.out.bias.zero_()
    x = even(tokens(4, 8))
    terms = token_terms(LOSSES["cross_entropy"].build, net.eval()(x), x)
    nats = (terms.per_example * 8).tolist()
    assert METRICS["perplexity"](None, Likelihoods(nats, [8] * 4, [30] * 4)) == pytest.approx(20, rel=1e-6)


def test_s025_sentiment_above_the_majority_by_words_of_any_place(remarks):
    assert remarks.test["accuracy"] > remarks.baseline["constant"]["accuracy"]
    told = remarks.predict([f"for once {BAD} and more", f"so {GOOD}"])
    assert [row["prediction"] for row in told] == ["spam", "ham"]


@pytest.fixture(scope="module")
def reversing():
    """Sequences of 2 to 4 tokens, and the network that learnt to reverse them."""
    lists = [list(one) for size in (2, 3, 4) for one in itertools.product((4, 5, 6), repeat=size)][::3]
    read = Sequences(
        torch.tensor([one + [0] * (4 - len(one)) for one in lists]), torch.tensor([len(one) for one in lists])
    )
    told = [[*one[::-1], END] for one in lists]
    targets = Sequences(
        torch.tensor([one + [0] * (5 - len(one)) for one in told]), torch.tensor([len(one) for one in told])
    )
    net = network("seq2seq_attention", TEXT, 8, hidden=32, embedding=16, beam=2)
    return teach(net, read, targets, "translate", steps=150, lr=0.01), read, targets, lists


def test_s026_reversal_is_exact_and_attention_runs_backwards(reversing):
    net, read, targets, lists = reversing
    assert [answer[: len(one)] for answer, one in zip(net.answer(read), lists, strict=True)] == [
        one[::-1] for one in lists
    ]
    weights = net.weights(read, targets)
    long = [row for row, one in enumerate(lists) if len(one) == 4]
    where = weights[long][:, :4].mean(0) @ torch.arange(4.0)
    assert where[0] > where[3]  # the first token that is written looks at the end


def test_s221_the_length_of_the_answer_is_its_own_and_ends_at_the_end_token(reversing):
    net, read, _, lists = reversing
    answers = net.answer(read)
    assert [len([token for token in answer if token != END]) for answer in answers] == [len(one) for one in lists]
    double = Sequences(torch.tensor([[4, 5], [6, 4]]), torch.tensor([2, 2]))
    target = torch.tensor([[4, 4, 5, 5, END], [6, END, 0, 0, 0]])
    other = network("seq2seq", TEXT, 8, hidden=16, embedding=16, beam=1)
    teach(other, double, Sequences(target, torch.tensor([5, 2])), "translate", steps=80)
    assert [[token for token in answer if token != END] for answer in other.answer(double)] == [[4, 4, 5, 5], [6]]


def test_s027_rouge_by_hand_and_a_summary_beats_the_lead_where_the_lead_is_wrong():
    truth, lead, good = ["the bank cut its rate"], ["the weather was fine in town"], ["the bank cut rates"]
    assert METRICS["rouge1"](truth, good) == pytest.approx(2 * 3 / (5 + 4))
    assert METRICS["rougeL"](["a b c d"], ["b d a"]) == pytest.approx(2 * 2 / (4 + 3))
    assert METRICS["rougeL"](truth, good) > METRICS["rougeL"](truth, lead)


def test_s030_the_log_partition_is_the_enumeration_and_half_an_entity_is_none():
    torch.manual_seed(0)
    chain, scores = LinearChain(3).double(), draw(1, 4, 3).double()
    with torch.no_grad():
        for weight in chain.parameters():
            weight.copy_(draw(*weight.shape, seed=3))
        every = [torch.tensor([list(row)]) for row in itertools.product(range(3), repeat=4)]
        nats = torch.stack([chain(scores, row, torch.tensor([4]))[0] for row in every])
        assert float(torch.logsumexp(-nats, 0)) == pytest.approx(0, abs=1e-9)  # all rows together have probability 1
        best = chain.decode(scores, torch.tensor([4]))[0][0]
    assert best == every[int(nats.argmin())][0].tolist()
    truth = [("B-PER", "I-PER", "O", "B-LOC")]
    assert METRICS["entity_f1"](truth, [("B-PER", "I-PER", "O", "B-LOC")]) == 1
    assert METRICS["entity_f1"](truth, [("B-PER", "O", "O", "B-LOC")]) == pytest.approx(0.5)


def test_s033_music_is_written_as_abc_and_midi_that_parse():
    steps = [(60, 64, 67), (60, 64), (), (72,)]
    files = written(" ".join(tokens_of(steps)), {"music": "chords", "step_mark": tokens_of([()])[-1], "step": "1/4"})
    assert set(files) == {".abc", ".mid"}
    assert {note.pitch for note in parse(files[".abc"].decode()).notes} == {60, 64, 67, 72}
    always = [[(60, 64), (62, 65)] * 20]
    assert independent_pitches(always, [[(60, 64)]])[0] > math.log(2)  # which chord comes is worth ln 2 and no more
    assert independent_voices(always, [[(60, 64)]])[0] > math.log(2)


@pytest.fixture(scope="module")
def poet(tmp_path_factory):
    home = tmp_path_factory.mktemp("poet")
    verse = "\u6625\u98ce\u5439\u8349\uff0c\u79cb\u6708\u7167\u6c5f\u3002"
    poems = [{"title": str(number), "paragraphs": [verse]} for number in range(30)]
    (home / "poems").mkdir()
    (home / "poems" / "poems.json").write_text(json.dumps(poems, ensure_ascii=False), encoding="utf-8")
    small = {"name": "char_lm", "hidden": 16, "embedding": 8, "layers": 1, "dropout": 0.0}
    return nw.train(home / "poems", small, epochs=4, out=home / "run", quiet=True), verse


@pytest.mark.parametrize("form", ["4x5", "2x7", "3x3"])
def test_s034_sampled_poems_hold_their_form(poet, form):
    verses, characters = map(int, form.split("x"))
    trained = poet[0].predictor()
    manner = Manner(temperature=1.5, seed=1)
    for row in generate(trained.forward, trained.targets, trained.encoder, form=form, count=3, manner=manner):
        found = [verse for verse in row["text"].replace("\n", "").replace("\u3002", "\uff0c").split("\uff0c") if verse]
        assert [len(verse) for verse in found] == [characters] * verses


def test_s035_a_chat_bot_learns_its_pairs_and_answers_each_line(tmp_path):
    pairs = [(f"{said} {number} my friend", f"{told} {number} times to you")
             for said, told in (("hello", "hi"), ("bye", "so long")) for number in range(10)]  # fmt: skip
    (tmp_path / "talk.tsv").write_text("".join(f"{said}\t{told}\n" for said, told in pairs * 3))
    small = {"name": "seq2seq_attention", "hidden": 32, "embedding": 16, "dropout": 0.0, "beam": 1}
    data = nw.read(tmp_path / "talk.tsv", tokens="word", batch_size=8, validation=0.0)
    adam = {"name": "adam", "lr": 0.01}
    trained = nw.train(data, small, epochs=30, optimizer=adam, out=tmp_path / "run", quiet=True).predictor()
    turns = chat(trained.forward, trained.targets, trained.encoder, [said for said, _ in pairs])
    told = [turn["text"] for turn in turns]
    assert sum(text == reply for text, (_, reply) in zip(told, pairs, strict=True)) >= 15, told


# K. structures and memory ---------------------------------------------------------------------------------------


def test_s217_one_to_one_is_a_plain_network():
    assert network("mlp", {"kind": "vector", "features": 5}, 3)(draw(4, 5)).shape == (4, 3)


@pytest.mark.parametrize("feed", ["start", "each"])
def test_s218_one_to_many_both_ways_of_feeding_give_n_outputs(feed):
    words = torch.tensor([[4, 5, 6, 7, END], [7, 4, END, 0, 0]])
    net = network("one_to_many", {"kind": "vector", "features": 3}, 8, feed=feed, hidden=16, embedding=8, beam=1)
    x = torch.eye(3)[:2]
    assert net(x, even(words)).shape == (2, 5, 8)
    teach(net, x, Sequences(words, torch.tensor([5, 3])), "translate", steps=60)
    assert [[token for token in one if token != END] for one in net.answer(x)] == [[4, 5, 6, 7], [7, 4]]


@pytest.mark.parametrize("readout", ["last", "mean", "max", "attention"])
def test_s219_s224_many_to_one_does_not_see_the_padding(readout):
    net = network("lstm", TEXT, 3, readout=readout, bidirectional=True).eval()
    x = tokens(3, 8)
    padded = Sequences(torch.cat([x, torch.full((3, 5), 9)], 1), torch.full((3,), 8))
    torch.testing.assert_close(net(padded), net(even(x)), rtol=1e-5, atol=1e-6)
    assert not torch.allclose(net(even(padded.values)), net(even(x)))


@pytest.mark.parametrize("steps", [1, 5, 300])
def test_s220_many_to_many_answers_every_step(steps):
    assert network("tagger", TEXT, 3)(even(tokens(2, steps))).shape == (2, steps, 3)
    assert network("char_lm", TEXT, 20, hidden=8)(even(tokens(2, steps))).shape == (2, steps, 20)


def test_s222_a_paragraph_is_learnt_by_heart_and_cold_samples_are_greedy(poet):
    text = tokens(1, 40, seed=5)
    net = network("char_lm", TEXT, 20, hidden=32, embedding=16, layers=1)
    teach(net, even(text[:, :-1]), even(text[:, 1:]), "generate", steps=150)
    assert net(even(text[:, :-1])).argmax(2).tolist() == text[:, 1:].tolist()
    first = text[0, :1]
    likeliest = greedy(net.step, None, first, most=12).tokens
    cold = sample(net.step, None, first, torch.Generator().manual_seed(0), most=12, temperature=1e-4).tokens
    assert cold == likeliest == [text[0, 1:13].tolist()]
    trained, verse = poet[0].predictor(), poet[1]
    by_temperature = [
        generate(trained.forward, trained.targets, trained.encoder, verse[0], length=8, manner=manner)[0]["text"]
        for manner in (Manner(temperature=0), Manner(temperature=1e-4, seed=4))
    ]
    assert by_temperature[0] == by_temperature[1]


@pytest.mark.parametrize("w", [0.7, 1.0, 1.3])
def test_s225_the_gradient_fades_or_grows_by_the_power_of_the_weight(w):
    core = CELLS["leaky"](1, hidden=1, alpha=0.0, nonlinearity="identity").double().eval()
    with torch.no_grad():
        core.weight_hh_l0.fill_(w)
    (curve,) = gradient_over_time(core, [draw(1, 20, 1).double()]).states
    assert curve.norms == pytest.approx([w**distance for distance in range(20)], rel=1e-9)


def test_s233_lstm_and_rnn_on_rows_are_compared_with_an_interval(tmp_path):
    runs = [nw.train("digits", name, epochs=2, out=tmp_path / name, quiet=True) for name in ("rnn", "lstm")]
    found = nw.compare(*runs)
    told = found.to_json()
    assert told["low"] <= told["difference"] <= told["high"]
    assert told["verdict"] in ("better", "worse", "no difference")


@pytest.mark.slow
def test_s234_the_lstm_adds_over_30_steps_and_elman_forgets(tmp_path):
    error = {}
    for name in ("lstm", "rnn"):
        data = nw.read("adding", examples=4000, steps=30)
        run = nw.train(data, {"name": name, "hidden": 32}, epochs=40, out=tmp_path / name, quiet=True)
        error[name] = run.test["mse"]
    assert error["lstm"] < 0.02  # the mean alone leaves 1/6
    assert error["rnn"] > 2 * error["lstm"]


def test_s234_only_the_lstm_hands_a_gradient_over_100_steps():
    left = {}
    for name, starts in (("rnn", {}), ("lstm", {"forget_bias": 5.0})):
        torch.manual_seed(0)
        core = CELLS[name](1, hidden=8, **starts).double().eval()
        x = draw(1, 100, 1).double().requires_grad_()
        core(x)[0][0, -1].sum().backward()
        left[name] = float(x.grad[0, 0].norm() / x.grad[0, -1].norm())
    assert left["rnn"] < 1e-6 < 1e-3 < left["lstm"]


def test_s235_the_memory_cell_has_four_blocks_and_what_they_do_is_its_output():
    core = CELLS["lstm"](3, hidden=4).eval()
    with calls_of(core) as calls, torch.no_grad():
        outputs = core(draw(2, 5, 3))[0]
    (only,) = unrolled(calls[0])
    assert [name for name in only.parts if name not in ("c", "h")] == ["i", "f", "g", "o"]
    i, f, g, o, c = (only.parts[name] for name in "ifgoc")
    before = torch.cat([torch.zeros(2, 1, 4), c[:, :-1]], 1)
    torch.testing.assert_close(f * before + i * g, c)
    torch.testing.assert_close(o * torch.tanh(c), outputs)


def test_per_token_losses_count_no_padding():
    net, x = network("tagger", TEXT, 3).eval(), tokens(2, 6)
    lengths, tags = torch.tensor([6, 2]), tokens(2, 6, seed=3) % 3
    loss = per_token(LOSSES["cross_entropy"].build)
    given = Batch(Sequences(x, lengths), Sequences(tags, lengths), None, np.arange(2), 0)
    found = loss(net, given, Draw(0, 0)).loss
    scores = net(Sequences(x, lengths))
    each = [F.cross_entropy(scores[row, t], tags[row, t]) for row, size in enumerate((6, 2)) for t in range(size)]
    torch.testing.assert_close(found, torch.stack(each).mean())
