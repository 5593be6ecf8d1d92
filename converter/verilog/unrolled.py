"""Unrolled layers: circuits of constant weights, a result every cycle."""


def modules(pipeline):
    """{file name: text} of the circuits of a pipeline."""
    return {}
