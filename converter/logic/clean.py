"""Clean: logic of a LUT network made smaller, every output the same function of the inputs.

    smaller, report = clean(network)       report: {"nodes_before", "nodes_after", "saving", "passes": {...}, ...}
"""
from .compose_pairs import compose_pairs
from .drop_inputs import drop_inputs
from .equivalence import check
from .fold_constants import fold_constants
from .merge_duplicates import merge_duplicates
from .netlist import Netlist
from .remove_dead import remove_dead

PASSES = (drop_inputs, fold_constants, merge_duplicates, compose_pairs, remove_dead)


def clean(network, passes=PASSES, samples=None):
    """Runs the passes until none finds anything.

    samples: numbers or bytes (N, ...) for the encoder, or bits (N, frames, num_inputs), on which the result is compared
    besides random vectors. Returns (LutNetwork, report). Raises AssertionError if the result differs: a defect.
    """
    netlist = Netlist.of(network)
    changes = dict.fromkeys((run.__name__ for run in passes), 0)
    rounds, found = 0, True
    while found:
        found, rounds = False, rounds + 1
        for run in passes:
            count = run(netlist)
            changes[run.__name__] += count
            found = found or count > 0
    kept = netlist.used_inputs() if network.encoder else None
    smaller = netlist.to_network(network)
    bits = None if samples is None else (network.encode(samples) if network.encoder else samples)
    equivalence = check(network, smaller, kept, None if bits is None else bits.reshape(-1, network.num_inputs))
    assert equivalence["is_equal"], equivalence
    return smaller, {"nodes_before": network.num_nodes, "nodes_after": smaller.num_nodes,
                     "saving": round(1 - smaller.num_nodes / max(1, network.num_nodes), 4),
                     "layers_before": len(network.layers), "layers_after": len(smaller.layers),
                     "inputs_before": network.num_inputs, "inputs_after": smaller.num_inputs, "rounds": rounds,
                     "passes": changes, "equivalence": equivalence}
