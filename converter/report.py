"""Report: what the converter did to each layer; data first, the table from it."""
from dataclasses import asdict, dataclass, field


@dataclass
class Row:
    """One weighted Q layer. bytes_before: float32 weights; bytes_after: as stored now; why: reason it stayed float;
    note: what else there is to know of a packed one."""

    layer: str
    kind: str
    act_bit: int
    weight_bit: int
    bytes_before: int
    bytes_after: int
    why: str = ""
    note: str = ""


@dataclass
class Report:
    """rows: one per Q layer; total_before, total_after: bytes of all parameters; verification: see converter.verify."""

    rows: list = field(default_factory=list)
    total_before: int = 0
    total_after: int = 0
    files: list = field(default_factory=list)
    verification: dict = field(default_factory=dict)

    def add(self, layer, kind, act_bit, weight_bit, bytes_before, bytes_after, why=None, note=""):
        self.rows.append(Row(layer, kind, act_bit, weight_bit, bytes_before, bytes_after, why or "", note))

    def to_dict(self):
        """Plain data, ready for JSON."""
        return asdict(self)

    @property
    def is_equal(self):
        """False when a verification found a difference."""
        return not self.verification or self.verification["different_classes"] == 0

    def __str__(self):
        lines = ["%-28s %-16s %5s %12s %12s %7s" % ("layer", "kind", "bits", "bytes", "packed", "ratio")]
        for row in self.rows:
            lines.append("%-28s %-16s %5s %12s %12s %6.1fx%s" % (
                row.layer, row.kind, "%d/%d" % (row.act_bit, row.weight_bit), f"{row.bytes_before:,}",
                f"{row.bytes_after:,}", row.bytes_before / max(1, row.bytes_after),
                "  float: " + row.why if row.why else "  " + row.note if row.note else ""))
        if not self.rows:
            lines.append("(no Q layers: nothing to pack; make some with qnn.swap or qnn.sym)")
        lines.append("%-28s %-16s %5s %12s %12s %6.1fx" % (
            "all parameters", "", "", f"{self.total_before:,}", f"{self.total_after:,}",
            self.total_before / max(1, self.total_after)))
        if self.verification:
            largest = self.verification["max_difference"]
            lines.append("verified on {images:,} images: {different_classes} classes differ, {different_outputs} "
                         "outputs differ ({by}); packed runs {speedup:.1f} times as fast".format(
                             by="NaN or infinite ones" if largest is None else "by %g at most" % largest,
                             **self.verification))
        return "\n".join(lines)
