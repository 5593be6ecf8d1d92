"""Passes: each takes a Model (graph, parameters, report), rewrites it and says whether it changed anything."""
from .pack_weights import PackWeights
from .remove_activations import RemoveActivations

PASSES = [PackWeights, RemoveActivations]  # in this order: activations go where only packed layers read them
