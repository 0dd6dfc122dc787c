"""The notebooks of the seed notes on CIFAR-10, as recipes for any folder of pictures (S-053, S-054, S-266 to S-268)."""

from typing import Any

from netwright.catalogue import RECIPES

Tables = dict[str, dict[str, Any]]


@RECIPES.add("data_introduction", source="the notes' notebook data_introduction")
def data_introduction() -> Tables:
    """A first look that learns: softmax regression for one epoch on pixels between 0 and 1."""
    return {
        "data": {"normalize": "unit"},
        "network": {"name": "softmax"},
        "loss": {"name": "cross_entropy"},
        "optimizer": {"name": "adam", "lr": 1e-3},
        "training": {"epochs": 1},
    }


@RECIPES.add("neuron", source="the notes' notebook neuron, with the loss that suits a sigmoid")
def neuron() -> Tables:
    """One neuron tells the first two classes apart: logistic regression.

    Formula: P(second class) = sigmoid(w x + b); 3,073 parameters on 3x32x32
    """
    return {
        "data": {"classes": 2},
        "network": {"name": "logistic"},
        "loss": {"name": "bce_with_logits"},
        "optimizer": {"name": "adam", "lr": 1e-3},
        "training": {"epochs": 10},
    }


@RECIPES.add("cifar10-neuron", source="the notes' notebook neuron, as written")
def cifar10_neuron() -> Tables:
    """One neuron on the first two classes with the squared loss on its sigmoid, as the notes have it.

    Formula: mean of (sigmoid(w x + b) - t)^2, t 0 or 1; the second class from 0.5 on; Adam
    """
    return {
        "data": {"classes": 2},
        "network": {"name": "logistic"},
        "loss": {"name": "mse", "link": "sigmoid"},
        "optimizer": {"name": "adam", "lr": 1e-3},
        "training": {"epochs": 10},
    }


@RECIPES.add("cifar10-softmax", source="the notes' notebook neuron, second part")
def cifar10_softmax() -> Tables:
    """One neuron for each class: softmax regression with weights that start at N(0, 1), as the notes have it.

    Formula: softmax(W x + b), W from N(0, 1), b = 0; 30,730 parameters on 3x32x32 with ten classes

    The start saturates the softmax; compare it with network.init=lecun_normal.
    """
    return {
        "network": {"name": "softmax", "init": "normal(mean=0, std=1)"},
        "loss": {"name": "cross_entropy"},
        "optimizer": {"name": "adam", "lr": 1e-3},
        "training": {"epochs": 10},
    }


@RECIPES.add("neural_network", source="the notes' notebook neural_network")
def neural_network() -> Tables:
    """Three hidden layers of 100 units: a multi-layer perceptron on pixels."""
    return {
        "network": {"name": "mlp", "hidden": [100, 100, 100]},
        "optimizer": {"name": "adam", "lr": 1e-3},
        "training": {"epochs": 10},
    }


@RECIPES.add("convnet", source="the notes' notebook convnet")
def convnet() -> Tables:
    """The notes' convolutional network: two 5x5 convolutions with pooling and one linear layer."""
    return {"network": {"name": "convnet"}, "optimizer": {"name": "adam", "lr": 1e-3}, "training": {"epochs": 10}}


@RECIPES.add("bp-net", source="the notes' advice of about 3 hidden layers")
def bp_net() -> Tables:
    """A back-propagation network with three hidden layers, for rows and tables (S-107)."""
    return {
        "network": {"name": "mlp", "hidden": [32, 32, 32], "activation": "tanh"},
        "training": {"epochs": 100},
    }
