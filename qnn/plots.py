"""Plots: figures that people would rather look at than read; matplotlib, drawn without a display."""


def demo_figure(path, results, curves):
    """Saves the demo's figure: test accuracy by epoch, size of the parameters, images per second.

    results: {name: {"accuracy", "bytes", "images_per_second"}}; curves: {name: [accuracy per epoch]}.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    colors = dict(zip(results, ("#7f8c8d", "#2e86c1", "#ca6f1e")))
    figure = Figure(figsize=(11, 3.6), layout="constrained")
    FigureCanvasAgg(figure)
    accuracy, size, speed = figure.subplots(1, 3)
    for name, curve in curves.items():
        accuracy.plot(range(1, len(curve) + 1), curve, color=colors[name], label=name)
    accuracy.set(title="accuracy on 360 test digits", xlabel="epoch", ylim=(0.8, 1.002))
    accuracy.legend(frameon=False)
    _bars(size, "parameters, kB", {name: row["bytes"] / 1e3 for name, row in results.items()}, colors, "%.1f")
    _bars(speed, "images per second", {name: row["images_per_second"] for name, row in results.items()}, colors, "%.0f")
    for axes in (accuracy, size, speed):
        axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=130)


def _bars(axes, title, values, colors, label):
    bars = axes.bar(list(values), list(values.values()), color=[colors[name] for name in values], width=0.6)
    axes.bar_label(bars, [label % value for value in values.values()])
    axes.set_title(title)
    axes.margins(y=0.12)
