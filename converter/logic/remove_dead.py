"""Remove dead: nodes that no output depends on go."""


def remove_dead(netlist):
    """Returns the number of nodes removed."""
    alive, n = set(netlist.outputs), netlist.num_inputs
    for k in reversed(range(len(netlist.functions))):
        if n + k in alive:
            alive.update(netlist.functions[k][0])
    kept = [k for k in range(len(netlist.functions)) if n + k in alive]
    number = {signal: signal for signal in range(n)}
    number.update({n + k: n + i for i, k in enumerate(kept)})
    count = len(netlist.functions) - len(kept)
    netlist.functions = [(tuple(number[signal] for signal in netlist.functions[k][0]), netlist.functions[k][1])
                         for k in kept]
    netlist.outputs = [number[signal] for signal in netlist.outputs]
    return count
