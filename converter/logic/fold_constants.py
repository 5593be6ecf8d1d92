"""Fold constants: nodes that are 0, 1, x or not x become part of the tables that read them."""
from .tables import IDENTITY, substitute


def fold_constants(netlist):
    """Returns the number of connections to such nodes that went."""
    simple, replaced, count = {}, {}, 0
    for k, (inputs, table) in enumerate(netlist.functions):
        used = {signal: simple[signal] for signal in inputs if signal in simple}
        if used:
            count += len(used)
            inputs, table = netlist.functions[k] = substitute(inputs, table, used)
        if len(inputs) <= 1:
            simple[netlist.num_inputs + k] = inputs, table
        if len(inputs) == 1 and table == IDENTITY:
            replaced[netlist.num_inputs + k] = inputs[0]
    netlist.redirect(replaced)
    return count
