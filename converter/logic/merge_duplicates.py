"""Merge duplicates: of nodes that compute the same function, or its complement, of the same signals, one remains."""
from .tables import IDENTITY, INVERTER, inverted, substitute


def merge_duplicates(netlist):
    """Returns the number of nodes that are read no more. A complement remains where it is an output."""
    first: dict = {}
    aliases, replaced, merged = {}, {}, 0
    outputs = set(netlist.outputs)
    for k, (inputs, table) in enumerate(netlist.functions):
        used = {signal: aliases[signal] for signal in inputs if signal in aliases}
        if used:
            inputs, table = netlist.functions[k] = substitute(inputs, table, used)
        if len(inputs) < 2:
            continue
        signal, same = netlist.num_inputs + k, first.get((inputs, table))
        opposite = first.get((inputs, inverted(table, len(inputs))))
        if same is not None:
            aliases[signal] = (same,), IDENTITY
            replaced[signal] = same
            merged += 1
        elif opposite is not None:
            aliases[signal] = (opposite,), INVERTER
            merged += signal not in outputs
        else:
            first[inputs, table] = signal
    netlist.redirect(replaced)
    return merged
