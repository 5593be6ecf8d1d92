"""Drop inputs: connections without influence go, f(x, x) becomes g(x); every function gets its normal form."""
from .tables import substitute


def drop_inputs(netlist):
    """Returns the number of connections dropped."""
    before = sum(len(inputs) for inputs, _ in netlist.functions)
    netlist.functions = [substitute(inputs, table) for inputs, table in netlist.functions]
    return before - sum(len(inputs) for inputs, _ in netlist.functions)
