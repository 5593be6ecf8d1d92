"""Tuples as MXNet writes them into attributes."""


def numbers(node, key, default=""):
    """(3, 3) of node.attrs[key] == "(3, 3)"; of `default` where it is absent or empty."""
    return _parsed(node.attrs.get(key, "")) or _parsed(default)


def _parsed(text):
    return tuple(int(part) for part in text.strip("()[] ").split(",") if part.strip())


def text(values):
    """"(3, 3)" of (3, 3)."""
    return str(tuple(values))
