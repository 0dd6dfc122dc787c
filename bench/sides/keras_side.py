"""Keras on torch, jax or tensorflow as its tutorials write it: `compile` with Adam, `fit` on arrays."""

import os
from typing import Any

import keras
import numpy as np
from keras import layers

from bench.feeding_arrays import held_out, scaled
from bench.gate import Gate
from bench.works import Order, Outcome


def convnet() -> Any:
    """The notes' CNN, channels last."""
    return keras.Sequential([
        keras.Input((28, 28, 1)),
        layers.Conv2D(16, 5, padding="same", activation="relu"), layers.MaxPooling2D(),
        layers.Conv2D(32, 5, padding="same", activation="relu"), layers.MaxPooling2D(),
        layers.Flatten(), layers.Dense(10),
    ])  # fmt: skip


def row_lstm() -> Any:
    """The notes' LSTM over rows."""
    return keras.Sequential([keras.Input((28, 28)), layers.LSTM(64), layers.Dense(10)])


def char_lstm(vocabulary: int) -> Any:
    """The character LSTM."""
    parts = [layers.Embedding(vocabulary, 64), layers.LSTM(256, return_sequences=True)]
    parts += [layers.LSTM(256, return_sequences=True), layers.Dense(vocabulary)]
    return keras.Sequential([keras.Input((None,), dtype="int32"), *parts])


def resnet18(small: bool) -> Any:
    """ResNet-18; with `small` the 3 x 3 stem, and crop and flip as layers of its own in front."""
    inputs = keras.Input((32, 32, 3) if small else (224, 224, 3))
    x: Any = inputs
    if small:
        x = layers.Rescaling(1 / 255)(x)
        x = layers.RandomCrop(32, 32)(layers.ZeroPadding2D(4)(x))
        x = layers.RandomFlip("horizontal")(x)
        mean, variance = [0.4914, 0.4822, 0.4465], [0.247**2, 0.2435**2, 0.2616**2]
        x = layers.Normalization(mean=mean, variance=variance)(x)
    x = layers.Conv2D(64, 3 if small else 7, 1 if small else 2, padding="same", use_bias=False)(x)
    x = layers.ReLU()(layers.BatchNormalization()(x))
    x = x if small else layers.MaxPooling2D(3, 2, padding="same")(x)
    before = 64
    for stage, width in enumerate((64, 128, 256, 512)):
        for number in range(2):
            x = block(x, before, width, 2 if stage and not number else 1)
            before = width
    outputs = layers.Dense(10 if small else 1000)(layers.GlobalAveragePooling2D()(x))
    return keras.Model(inputs, outputs)


def block(x: Any, before: int, width: int, stride: int) -> Any:
    """Two 3 x 3 convolutions with a shortcut around them."""
    y = layers.Conv2D(width, 3, stride, padding="same", use_bias=False)(x)
    y = layers.ReLU()(layers.BatchNormalization()(y))
    y = layers.BatchNormalization()(layers.Conv2D(width, 3, padding="same", use_bias=False)(y))
    if stride != 1 or before != width:
        x = layers.BatchNormalization()(layers.Conv2D(width, 1, stride, use_bias=False)(x))
    return layers.ReLU()(layers.add([x, y]))


def model_and_arrays(order: Order) -> tuple[Any, np.ndarray, np.ndarray]:
    """The network of a work, and what it is fitted to."""
    if order.work == "w4":
        pieces = order.array("pieces").astype(np.int32)
        return char_lstm(int(order.array("vocabulary"))), pieces[:, :-1], pieces[:, 1:]
    labels = order.array("labels").astype(np.int32)
    if order.work == "w3":
        return resnet18(True), order.array("images"), labels
    images = scaled(order.array("images"))
    return (row_lstm(), images, labels) if order.work == "w2" else (convnet(), images[..., None], labels)


def compiled(model: Any) -> Any:
    """The network ready to fit."""
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizer=keras.optimizers.Adam(1e-3), loss=loss, metrics=["accuracy"])
    return model


class Passing(keras.callbacks.Callback):
    """Passes the gate after each training batch."""

    def __init__(self, gate: Gate) -> None:
        super().__init__()
        self.gate = gate

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self.gate()


def finished(model: Any) -> None:
    """Wait for what jax computes in the background."""
    state = getattr(model, "_jax_state", None)
    if state is not None:
        import jax

        jax.block_until_ready(state["trainable_variables"])


def train(order: Order, gate: Gate) -> None:
    """Epoch after epoch."""
    keras.utils.set_random_seed(0)
    model, inputs, targets = model_and_arrays(order)
    gate.facts = {"precision": "float32", "threads": os.cpu_count()}
    gate.synchronise = lambda: finished(model)
    compiled(model).fit(
        inputs, targets, batch_size=order.what.batch, epochs=10**6, verbose=0, callbacks=[Passing(gate)]
    )


def whole(order: Order) -> dict[str, Any]:
    """MNIST for so many epochs, or until an accuracy on held-out pictures; then the test accuracy."""
    outcome = Outcome.of(order)
    keras.utils.set_random_seed(0)
    kept, held = held_out(order.array("images"), order.array("labels"), outcome.until)
    model = compiled(convnet())
    inputs, targets = scaled(kept[0])[..., None], kept[1].astype(np.int32)
    seen = scaled(held[0])[..., None]
    while outcome.more():
        model.fit(inputs, targets, batch_size=order.what.batch, epochs=1, verbose=0)
        outcome.epoch(judged(model, seen, held[1]) if outcome.until else 0.0)
    return outcome.end(judged(model, scaled(order.array("test_images"))[..., None], order.array("test_labels")))


def judged(model: Any, inputs: np.ndarray, labels: np.ndarray) -> float:
    """The share classified well, in batches of 1,000."""
    return float(model.evaluate(inputs, labels.astype(np.int32), batch_size=1000, verbose=0)[1])


def infer(order: Order, gate: Gate) -> None:
    """One batch of random pictures after the other: `predict_on_batch`, whose answer is an array."""
    model = resnet18(False)
    inputs = np.random.default_rng(0).standard_normal((order.what.batch, 224, 224, 3), dtype=np.float32)
    gate.laps = True
    gate.facts = {"precision": "float32", "threads": os.cpu_count()}
    while True:
        model.predict_on_batch(inputs)
        gate()
