"""Compose pairs: a node whose readers can all take its function into their own 6 inputs goes."""
from .tables import substitute


def compose_pairs(netlist):
    """Returns the number of nodes that went into their readers; those with fewest readers first."""
    readers, outputs, count = netlist.readers(), set(netlist.outputs), 0
    nodes = [netlist.num_inputs + k for k in range(len(netlist.functions))]
    for signal in sorted(nodes, key=lambda signal: (len(readers.get(signal, ())), -signal)):
        if signal in outputs or signal not in readers:
            continue
        function = netlist.function(signal)
        composed = [(k, substitute(*netlist.functions[k], {signal: function})) for k in readers[signal]]
        if any(found is None for _, found in composed):
            continue
        for k, found in composed:
            for old in netlist.functions[k][0]:
                readers[old].remove(k)
            for new in found[0]:
                readers.setdefault(new, []).append(k)
            netlist.functions[k] = found
        for old in function[0]:
            readers[old].remove(signal - netlist.num_inputs)
        netlist.functions[signal - netlist.num_inputs] = (), 0
        del readers[signal]
        count += 1
    return count
