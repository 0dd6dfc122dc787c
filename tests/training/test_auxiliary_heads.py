"""Auxiliary heads: minimised with their weight, recorded apart, silent in use."""

import json

import numpy as np
import torch
from torch import nn

from netwright.catalogue import LOSSES
from netwright.cli import _run
from netwright.data.batches import Batch
from netwright.networks.blocks import Scores
from netwright.training.objective import Draw, supervised


class TwoHeads(nn.Module):
    auxiliary_weight = 0.3

    def __init__(self) -> None:
        super().__init__()
        self.main, self.first, self.second = nn.Linear(4, 3), nn.Linear(4, 3), nn.Linear(4, 3)

    def forward(self, x):
        return Scores(self.main(x), (self.first(x), self.second(x))) if self.training else self.main(x)


def test_the_loss_is_the_main_loss_plus_a_share_of_the_heads():
    torch.manual_seed(0)
    net, loss = TwoHeads(), LOSSES["cross_entropy"]
    weights = torch.tensor([1.0, 2.0, 0.5, 1.0, 0.0])
    batch = Batch(torch.randn(5, 4), torch.tensor([0, 1, 2, 0, 1]), weights, np.arange(5), 0)
    terms = supervised(loss)(net, batch, Draw(0, 0))

    def mean(head):
        return (loss(head(batch.inputs), batch.targets) * weights).sum() / weights.sum()

    main, heads = mean(net.main), 0.3 * (mean(net.first) + mean(net.second))
    torch.testing.assert_close(terms.loss, main + heads)
    torch.testing.assert_close(terms.value, main)
    terms.loss.backward()
    assert all(float(p.grad.abs().sum()) > 0 for p in net.parameters())
    in_use = supervised(loss)(net.eval(), batch, Draw(0, 0))
    assert in_use.heads is None
    torch.testing.assert_close(in_use.loss, main)


def test_a_network_with_heads_trains_from_the_command_line(tmp_path, capsys):
    layers = ["train", "digits", "network=googlenet_bn", "network.aux=true", "network.width=0.05", "epochs=1",
              "threads=1", "data.limit=96", "--out", str(tmp_path / "run"), "--json", "--quiet"]  # fmt: skip
    assert _run(layers) == 0
    found = json.loads(capsys.readouterr().out)
    rows = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    logged = [row for row in rows if "parts" in row]
    assert logged
    assert all(row["parts"]["auxiliary"] > 0 for row in logged)
    assert found["test"]["accuracy"] >= 0
