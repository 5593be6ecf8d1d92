"""Truth tables as Python integers: bit sum_j x_j << j of the table of n inputs, n <= 6.

    substitute((a, b), 0b1000, {a: ((c, d), 0b0110)})    ->    ((b, c, d), table of (c xor d) and b)
"""

MAX_INPUTS = 6
# Table of x_j alone, over 6 inputs.
VARIABLES = (0xAAAAAAAAAAAAAAAA, 0xCCCCCCCCCCCCCCCC, 0xF0F0F0F0F0F0F0F0, 0xFF00FF00FF00FF00, 0xFFFF0000FFFF0000,
             0xFFFFFFFF00000000)
ONES = (1 << 64) - 1
CONSTANTS = (((), 0), ((), 1))
IDENTITY, INVERTER = 0b10, 0b01


def apply(table, columns):
    """The table of f(g_0, g_1 ...): table of f; columns: 64-bit tables of the g_j, over 6 common inputs."""
    if not columns:
        return ONES if table & 1 else 0
    half = 1 << (len(columns) - 1)
    low, high = table & ((1 << half) - 1), table >> half
    if low == high:
        return apply(low, columns[:-1])
    x = columns[-1]
    return apply(high, columns[:-1]) & x | apply(low, columns[:-1]) & ~x & ONES


def substitute(inputs, table, functions=None):
    """The function (inputs, table) with signals replaced: functions = {signal: (inputs, table)}.

    Returns it in its one normal form: signals rising, each once, none without influence; None if it has more than 6
    signals. Equal functions of the same signals thereby become equal.
    """
    functions = functions or {}
    signals = sorted({s for signal in inputs for s in functions.get(signal, ((signal,), 0))[0]})
    if len(signals) > MAX_INPUTS:
        return None
    column = {signal: VARIABLES[i] for i, signal in enumerate(signals)}
    columns = []
    for signal in inputs:
        if signal in functions:
            inner, inner_table = functions[signal]
            columns.append(apply(inner_table, [column[s] for s in inner]))
        else:
            columns.append(column[signal])
    return _without_idle(signals, apply(table, columns))


def _without_idle(signals, table):
    """Drops signals that a 64-bit table over them does not depend on."""
    kept = list(signals)
    for j in reversed(range(len(kept))):
        size = 1 << j
        zeros = table & ~VARIABLES[j]
        if table >> size & ~VARIABLES[j] & ONES == zeros:
            columns = list(VARIABLES[:len(kept)])
            columns[j:] = [0] + columns[j:-1]  # x_j := 0, the ones above move down
            table = apply(table & ((1 << (1 << len(kept))) - 1), columns)
            del kept[j]
    return tuple(kept), table & ((1 << (1 << len(kept))) - 1)


def inverted(table, n):
    """The table of the complement."""
    return table ^ ((1 << (1 << n)) - 1)
