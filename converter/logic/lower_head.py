"""Lower the head: counts of ones and the first largest of them as nodes.

    count   columns of bits of one weight; a 6:3 counter, three nodes, leaves one bit in its column and one in each of
            the next two; when no column has more than two bits, they are added, two columns at once
    class   a tournament: the later of two wins only if it is larger, two digits in one node
"""


def table_of(n, f):
    """Table of f(bits) of n inputs."""
    return sum(1 << i for i in range(1 << n) if f(*(i >> j & 1 for j in range(n))))


COUNT = {n: [table_of(n, lambda *x, d=d: sum(x) >> d & 1) for d in range(3)] for n in range(1, 7)}
ADD = [table_of(5, lambda a0, b0, c, a1, b1, d=d: a0 + b0 + c + 2 * (a1 + b1) >> d & 1) for d in range(3)]
LARGER = table_of(5, lambda a0, b0, g, a1, b1: b0 + 2 * b1 > a0 + 2 * a1 or (b0 + 2 * b1 == a0 + 2 * a1 and g))
CHOOSE = table_of(3, lambda a, b, g: b if g else a)


class Builder:
    """Appends nodes to a netlist."""

    def __init__(self, netlist):
        self.netlist = netlist
        self.zero, self.one = self.node((), 0), self.node((), 1)

    def node(self, inputs, table):
        """The signal of a new node."""
        self.netlist.functions.append((tuple(inputs), table))
        return self.netlist.num_inputs + len(self.netlist.functions) - 1

    def count(self, signals):
        """Digits, lowest first, of the number of ones among signals."""
        columns = [list(signals)]
        while max(map(len, columns)) > 2:
            columns = self.compress(columns)
        return self.add(columns)

    def compress(self, columns):
        """One round of counters."""
        result: list = [[] for _ in range(len(columns) + 2)]
        for weight, column in enumerate(columns):
            for begin in range(0, len(column), 6):
                part = column[begin:begin + 6]
                if len(part) < 3 and len(columns[weight]) > 1 or len(part) == 1:
                    result[weight] += part
                    continue
                for digit in range(len(part).bit_length()):
                    result[weight + digit].append(self.node(part, COUNT[len(part)][digit]))
        while not result[-1]:
            result.pop()
        return result

    def add(self, columns):
        """Digits of the sum of columns with at most two bits each."""
        digits, carry = [], self.zero
        for weight in range(0, len(columns), 2):
            pair = [column + [self.zero] * (2 - len(column)) for column in (columns[weight:weight + 2] + [[]])[:2]]
            inputs = [pair[0][0], pair[0][1], carry, pair[1][0], pair[1][1]]
            digits += [self.node(inputs, ADD[0]), self.node(inputs, ADD[1])]
            carry = self.node(inputs, ADD[2])
        return digits + [carry]

    def largest(self, scores):
        """Digits of the index of the first largest of scores, each given by its digits."""
        size = max(1, (len(scores) - 1).bit_length())
        width = max(map(len, scores))
        entries = [(digits + [self.zero] * (width - len(digits)),
                    [self.one if index >> d & 1 else self.zero for d in range(size)])
                   for index, digits in enumerate(scores)]
        while len(entries) > 1:
            pairs = [entries[i:i + 2] for i in range(0, len(entries), 2)]
            entries = [self.winner(*pair) if len(pair) == 2 else pair[0] for pair in pairs]
        return entries[0][1]

    def winner(self, a, b):
        """(digits, index) of the larger entry, of a if they are equal."""
        larger = self.zero
        for i in range(0, len(a[0]), 2):
            two = [(digits + [self.zero])[i:i + 2] for digits in (a[0], b[0])]
            larger = self.node([two[0][0], two[1][0], larger, two[0][1], two[1][1]], LARGER)
        return tuple([self.node((x, y, larger), CHOOSE) for x, y in zip(p, q)] for p, q in zip(a, b))
