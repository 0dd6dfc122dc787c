"""Activations: functions of one number between linear layers. Each factory returns a module on torch's kernel.

The fact `init` is the initializer that keeps the scale of signals through it. Range, slopes and monotonicity are not
declared but measured (`properties`); an activation need not be monotonic: swish falls below x = -1.28. Those that are
no function of one number have the fact `acts_on`: softmax turns all classes into probabilities together, and maxout
gives fewer channels than it gets.
"""

from netwright.parts.activations.fresh import activation
from netwright.parts.activations.measuring import ActivationProperties, properties, properties_table
from netwright.parts.activations.saturating import ScaledTanh

__all__ = ["ActivationProperties", "ScaledTanh", "activation", "properties", "properties_table"]
