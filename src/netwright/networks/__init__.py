"""Networks: functions of what the data says of inputs and outputs; they return a module that gives logits or numbers.

Each file is one family and reads top to bottom. `shapes.py` holds what all share: the sizes a network is built between.
"""
