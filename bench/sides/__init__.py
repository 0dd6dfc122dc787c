"""One module a framework: `train(order, gate)` never ends by itself, `whole(order)` trains from start to end."""
