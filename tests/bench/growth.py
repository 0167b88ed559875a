# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# How times grow with context, batch, experts and layers: measures them (row 8) and draws docs/growth.svg.
"""    ./dev bench --rows 8                              measure, then draw
    /usr/bin/python3 tests/bench/growth.py FILE.json  draw what an earlier run measured

Shapes are small (ds-small and variants of it), so that a run takes minutes: what counts is how a
curve bends. It is linear or better when its last point lies at or below the straight line through
the first and the last but one; 1.1 times that line passes.
"""

import io
import json
import pathlib
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
PLOT = ROOT / "docs/growth.svg"
LIMIT = 1.1
CONTEXTS = (0, 1024, 2048, 4096, 8192, 16384)
BATCHES = (1, 2, 4, 8, 16, 32)
EXPERTS = (8, 16, 32, 64, 128)
LAYERS = (3, 6, 12, 24, 48)


def seconds(test):
    return 1 / test["median_tokens_per_second"]


def measure(bench, model_class):
    """One curve each: {"title", "x", "y" (axis names), "points": [[x, seconds], ...]}."""
    small = bench.small
    curves = []

    depths = ",".join(map(str, CONTEXTS))
    tests = small.measure("-p", 0, "-n", 64, "-d", depths)["tests"]
    points = [[d, seconds(tests["tg64" if d == 0 else f"tg64 @ d{d}"])] for d in CONTEXTS]
    curves.append({"title": "one token against its context", "x": "tokens of context",
                   "y": "seconds per token", "points": points})

    batches = ",".join(map(str, BATCHES))
    tests = small.measure("-p", 0, "-n", 64, "-b", batches)["tests"]
    points = [[b, b * seconds(tests["tg64" if b == 1 else f"tg64 x {b}"])] for b in BATCHES]
    curves.append({"title": "one step against its sequences", "x": "sequences decoded together",
                   "y": "seconds per step", "points": points})

    points = []
    for experts in EXPERTS:
        config = dict(small.config, n_routed_experts=experts, num_hidden_layers=4)
        model = model_class(bench, f"growth-{experts}-experts", config)
        points.append([experts, seconds(model.measure("-p", 0, "-n", 64)["tests"]["tg64"])])
        model.artifact().unlink()
    curves.append({"title": "one token against the routed experts (4 active)", "x": "experts",
                   "y": "seconds per token, 4 layers", "points": points})

    points = []
    made = bench.work / "growth.fathom"
    for layers in LAYERS:
        config = dict(small.config, num_hidden_layers=layers, n_routed_experts=8)
        model = model_class(bench, f"growth-{layers}-layers", config)
        runs = [model.compile(made, ["cpu:native"], "q4") for _ in range(3)]
        # Encoding is the weights' size and row 6's matter.
        points.append([layers, min(sum(r.values()) - r["emit"] for r in runs)])
        made.unlink()
    curves.append({"title": "compiling without encoding, against layers", "x": "layers",
                   "y": "seconds", "points": points})
    return curves


def linear(curve):
    """What the last point would be on the line through the first and the last but one; where that
    falls, the last but one."""
    (x0, t0), (x1, t1), (x2, _) = curve["points"][0], *curve["points"][-2:]
    return max(t0 + (t1 - t0) * (x2 - x0) / (x1 - x0), t1)


def draw(curves, path=PLOT):
    import matplotlib
    matplotlib.use("svg")
    # Text as text and ids that depend on nothing: the file is small, and equal for equal numbers.
    matplotlib.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "fathom", "font.size": 9})
    from matplotlib import pyplot
    figure, panels = pyplot.subplots(2, 2, figsize=(9, 6.5), layout="constrained")
    for curve, panel in zip(curves, panels.flat):
        x, y = zip(*curve["points"])
        panel.plot(x, [1e3 * v for v in y], "o-", label="measured")
        panel.plot([x[0], x[-1]], [1e3 * y[0], 1e3 * linear(curve)], ":", color="gray",
                   label="line through first and last but one")
        panel.set(title=curve["title"], xlabel=curve["x"],
                  ylabel=curve["y"].replace("seconds", "milliseconds"))
        panel.set_ylim(bottom=0)
        panel.legend()
    text = io.StringIO()
    figure.savefig(text, metadata={"Date": None, "Creator": "tests/bench/growth.py"})
    path.write_text("".join(line.rstrip() + "\n" for line in text.getvalue().splitlines()))
    return path


def main():
    if len(sys.argv) not in (2, 3):
        sys.exit(__doc__)
    curves = json.loads(pathlib.Path(sys.argv[1]).read_text())
    print(draw(curves, pathlib.Path(sys.argv[2]) if len(sys.argv) == 3 else PLOT))


if __name__ == "__main__":
    main()
