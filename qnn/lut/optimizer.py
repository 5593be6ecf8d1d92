"""LutAdam: Adam that keeps the entries of tables in 0..1, as BinaryBrain's clamp does: w <- clip(adam(w), 0, 1).

    module.fit(..., optimizer="lutadam", optimizer_params={"learning_rate": 1e-3})
    trainer = mx.gluon.Trainer(net.collect_params(), "lutadam", {"learning_rate": 1e-3})

Forward clips what it reads, so other optimizers work as well; an entry that has wandered off only needs as long to
return.
"""
import mxnet as mx

from .initializers import LutTable


@mx.optimizer.register
class LutAdam(mx.optimizer.Adam):
    """Adam; the weights of table layers are projected to 0..1 after every step. Arguments: those of Adam."""

    def update(self, index, weight, grad, state):
        super().update(index, weight, grad, state)
        if self._is_table(index):
            clamp(weight)

    def _is_table(self, index):
        if self.param_dict:  # gluon
            return isinstance(getattr(self.param_dict.get(index), "init", None), LutTable)
        name = self.idx2name.get(index, index)
        return bool(self.sym_info) and "__qnn_lut_table__" in self.sym_info[0].get(name, {})


def clamp(weight):
    """Projects an array to 0..1 in place."""
    mx.nd.clip(weight, a_min=0.0, a_max=1.0, out=weight)
