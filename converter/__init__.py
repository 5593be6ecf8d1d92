"""qnn.converter: trained graphs become packed graphs; files that other systems wrote become ours."""
from .convert import convert, convert_checkpoint

__all__ = ["convert", "convert_checkpoint"]
