"""Tables: rows of text under a header, in columns as wide as they need to be."""


def text_table(header, rows, right=()):
    """Aligned text of `rows` (sequences of values) under `header`; columns numbered in `right` are set flush right.

    >>> print(text_table(("layer", "bits"), [("conv1", 1)], right=(1,)))
    layer  bits
    -----  ----
    conv1     1
    """
    cells = [[str(value) for value in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(header, *cells)]
    lines = [header, ["-" * width for width in widths]] + cells
    return "\n".join("  ".join(cell.rjust(width) if number in right else cell.ljust(width)
                               for number, (cell, width) in enumerate(zip(line, widths))).rstrip() for line in lines)
