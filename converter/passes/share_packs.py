"""SharePacks: layers that read the same activations share one packed image, padded for the one that needs most.

A layer reads the inner part of an image with more padding than its own (`image_pad`). What the border holds matters
only to layers that have padding themselves.
"""
from .tuples import numbers, text


class SharePacks:
    """Merges _qnn_pack operators of one source."""

    name = "share_packs"

    def apply(self, model):
        changes, kept = 0, []
        readers = model.graph.consumers()
        for pack in [node for node in model.graph.nodes() if node.op == "_qnn_pack"]:
            twin = next((other for other in kept if _can_share(other, pack)), None)
            if twin is None:
                kept.append(pack)
                continue
            pads = numbers(twin, "pad"), numbers(pack, "pad")
            if any(pads[1]):
                twin.attrs["pad_value"] = pack.attrs["pad_value"]
            widest = tuple(map(max, *pads))
            twin.attrs["pad"] = text(widest)
            readers[twin] += readers[pack]
            model.graph.replace((pack, 0), (twin, 0))
            for layer, _ in readers[twin]:
                layer.attrs["image_pad"] = text(widest)
            changes += 1
        return changes


def _can_share(one, other):
    same = ("layout", "num_group", "planes", "code")
    if one.inputs != other.inputs or any(one.attrs.get(key) != other.attrs.get(key) for key in same):
        return False
    is_free = not any(numbers(one, "pad")) or not any(numbers(other, "pad"))
    return is_free or (one.attrs["pad_value"] == "1") == (other.attrs["pad_value"] == "1")
