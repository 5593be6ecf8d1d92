"""Tuples as MXNet writes them into attributes."""


def numbers(node, key, default=""):
    """(3, 3) of node.attrs[key] == "(3, 3)"."""
    return tuple(int(part) for part in node.attrs.get(key, default).strip("()[] ").split(",") if part.strip())


def text(values):
    """"(3, 3)" of (3, 3)."""
    return str(tuple(values))
