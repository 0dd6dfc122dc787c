"""Trains six kinds of network, small, into a folder: what must not change their bits is varied around it.

python tests/support/six_kinds.py FOLDER [--loud] [--at FOLDER] [table.key=value ...]
"""

import argparse
import os
from pathlib import Path

KINDS = {
    "mlp": ["network=mlp", "network.hidden=[16]", "optimizer.lr=0.01", "l2=1e-4"],
    "convnet": ["network=convnet", "data.augment=translate 1", "schedule=one_cycle"],
    "lstm": ["network=lstm", "clip_norm=1.0"],
    "gru": ["network=stack", 'network.layers="gru 8, last, linear out"', "optimizer=rmsprop"],
    "stack": ["network=stack", 'network.layers="conv 4 3, batchnorm, relu, maxpool 2, dropout 0.3, linear out"'],
    "resnet": ["network=cifar_resnet20", "network.width=0.25", "optimizer=momentum", "data.augment=flip, noise 0.1"],
}
SETTINGS = ["data.limit=96", "data.batch_size=16", "epochs=2", "log_steps=3", "threads=1", "precision=float32",
            "layout=contiguous", "allocator=default", "compile=false"]  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("changes", nargs="*")
    parser.add_argument("--loud", action="store_true", help="all that a person would see")
    parser.add_argument("--at", default=".", help="the current folder meanwhile")
    given = parser.parse_intermixed_args()
    home = given.folder.resolve()
    os.chdir(given.at)
    import netwright as nw
    from netwright.cli import recipe_of

    for name, words in KINDS.items():
        recipe = recipe_of(["digits", *words, *SETTINGS, *given.changes])
        nw.train(recipe=recipe, out=home / name, quiet=not given.loud)


if __name__ == "__main__":
    main()
