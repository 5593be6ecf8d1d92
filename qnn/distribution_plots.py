"""Figures of distributions: a panel per layer, a row per network; and curves of trainings. matplotlib, no display."""

BLUE, ORANGE, GRAY = "#2e86c1", "#ca6f1e", "#7f8c8d"
MOST_LINES = 15  # thresholds that are drawn: those of 4 bits


def weights_figure(path, networks, form="png"):
    """Saves the weight distributions of several networks: a row per network, a column per layer, biases at the right.

    networks: [{"name": text, "clip": float, "layers": weight_distributions(...)}].
    """
    columns = max(len(network["layers"]) for network in networks)
    has_bias = any(layer["bias"] for network in networks for layer in network["layers"])
    figure, rows = _grid(len(networks), columns + has_bias)
    for axes_row, network in zip(rows, networks):
        for axes in axes_row[len(network["layers"]):columns]:
            axes.set_axis_off()
        for axes, layer in zip(axes_row, network["layers"]):
            _histogram(axes, layer, BLUE)
            axes.set_title("%s\n%.1f %% at $\\pm$%g" % (layer["name"], 100 * layer["saturation"], network["clip"]),
                           fontsize=9)
            axes.set_yticks([])
        if has_bias:
            _biases(axes_row[-1], [layer["bias"] for layer in network["layers"] if layer["bias"]])
        axes_row[0].set_ylabel(network["name"])
    figure.savefig(path, format=form, dpi=130)


def activations_figure(path, name, layers, form="png"):
    """Saves what enters each quantizer of a network, with its thresholds; where no gradient passes, bars are pale.

    layers: activation_distributions(...).
    """
    columns = min(4, len(layers))
    figure, rows = _grid(-(-len(layers) // columns), columns)
    panels = [axes for row in rows for axes in row]
    for axes in panels[len(layers):]:
        axes.set_axis_off()
    for axes, layer in zip(panels, layers):
        _histogram(axes, layer, ORANGE)
        low, high = layer["window"] or axes.get_xlim()
        for bar in axes.patches:
            bar.set_alpha(1.0 if low <= bar.get_x() + bar.get_width() / 2 <= high else 0.45)
        for threshold in layer["thresholds"] or ():
            if len(layer["thresholds"]) <= MOST_LINES:
                axes.axvline(threshold, color="black", linewidth=0.8)
        stopped = "" if layer["no_gradient"] is None else "%.1f %% without gradient" % (100 * layer["no_gradient"])
        axes.set_title("%s: %s\n%.1f %% $\\geq$ 0, %s" % (
            layer["name"], layer["quantizer"] or "", 100 * layer["positive"], stopped), fontsize=8)
        axes.set_yticks([])
    figure.suptitle("what enters the quantizers of %s" % name, fontsize=10)
    figure.savefig(path, format=form, dpi=130)


def training_figure(path, logs, form="png"):
    """Saves error and loss by epoch. logs: {name: [{"epoch", "train_accuracy", "train_loss", "validation_accuracy",
    "validation_loss"}]}; validation solid, training dotted."""
    from matplotlib.ticker import MaxNLocator
    figure, ((error, loss),) = _grid(1, 2, 5.2, 3.4)
    lines = []
    for number, (name, rows) in enumerate(logs.items()):
        epochs = [row["epoch"] for row in rows]
        for axes, key, convert in ((error, "accuracy", lambda value: 100 * (1 - value)), (loss, "loss", float)):
            for part, style in (("validation", "-"), ("train", ":")):
                line, = axes.plot(epochs, [convert(row["%s_%s" % (part, key)]) for row in rows], style, marker=".",
                                  color="C%d" % (number % 10), label=name)
                lines += [line] if (part, key) == ("validation", "loss") else []
    for axes, title in ((error, "error, %"), (loss, "loss")):
        axes.set(xlabel="epoch", title=title, ylim=(0, None))
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.grid(axis="y", color="#e5e8e8")
    figure.legend(handles=lines, loc="outside right upper", frameon=False, fontsize=8,
                  title="validation\n(training dotted)", title_fontsize=8)
    figure.savefig(path, format=form, dpi=130)


def _grid(num_rows, num_columns, width=2.5, height=2.2):
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    figure = Figure(figsize=(width * num_columns + 0.4, height * num_rows + 0.3), layout="constrained")
    FigureCanvasAgg(figure)
    rows = figure.subplots(num_rows, num_columns, squeeze=False)
    for axes in rows.ravel():
        axes.spines[["top", "right"]].set_visible(False)
        axes.tick_params(labelsize=8)
    return figure, rows


def _histogram(axes, layer, color):
    edges, share = layer["edges"], [count / max(layer["count"], 1) for count in layer["counts"]]
    axes.bar(edges[:-1], share, width=edges[1] - edges[0], align="edge", color=color, linewidth=0)
    axes.set_xlim(edges[0], edges[-1])


def _biases(axes, biases):
    """Histograms above one another, each as high as its own largest bin."""
    for number, bias in enumerate(reversed(biases)):
        highest = max(bias["counts"])
        axes.stairs([number + 0.85 * count / highest for count in bias["counts"]], bias["edges"], baseline=number,
                    fill=True, color=GRAY)
    axes.set_yticks(range(len(biases)), [bias["name"] for bias in reversed(biases)], fontsize=7)
    axes.locator_params(axis="x", nbins=4)
    axes.set_title("biases", fontsize=9)
