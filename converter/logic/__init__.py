"""Logic of LUT networks: clean() makes it smaller, lower() makes it nodes only, check() and prove() show that they are
the same."""
from .clean import clean
from .equivalence import check, prove
from .lower import lower

__all__ = ["clean", "check", "lower", "prove"]
