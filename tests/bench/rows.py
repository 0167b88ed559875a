# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# Prints the figures that say how close whole models come to the machine's limits on the CPU.
"""Every figure stands beside its bound, measured in the same run: read bandwidth between the runs
of the model (fathom bench), the rates of the dot product instructions and of the isolated kernels
before and after (kernel_bench). Only the ratios mean something on a shared machine, so what is
compared runs in turn: a ratio is that of one round, and the median of the rounds counts; the least
and the greatest stand in brackets.

    ./dev bench                   all rows; the first run makes 9 GB of artifacts under build/dev/bench
    ./dev bench --rows 1,2        some of them
    ./dev bench --shape ds-small  a model of 0.6 B parameters instead of 15.7 B
"""

import argparse
import json
import mmap
import os
import pathlib
import re
import resource
import statistics
import subprocess
import sys
import time

import growth

ROOT = pathlib.Path(__file__).resolve().parents[2]
CONFIGS = ROOT / "tests/golden/configs"
DENSE = {
    "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": 2048,
    "intermediate_size": 8192, "num_hidden_layers": 16, "num_attention_heads": 32,
    "num_key_value_heads": 8, "head_dim": 64, "vocab_size": 32000, "rms_norm_eps": 1e-5,
    "rope_theta": 10000.0, "max_position_embeddings": 32768, "hidden_act": "silu",
    "tie_word_embeddings": False, "attention_bias": False, "mlp_bias": False,
    "torch_dtype": "bfloat16", "bos_token_id": 0, "eos_token_id": 1,
}


def run(*command):
    result = subprocess.run([str(c) for c in command], capture_output=True, text=True)
    if result.returncode != 0:
        sys.exit(f"{' '.join(map(str, command))}: exit code {result.returncode}\n{result.stderr}")
    return result


class Model:
    """A published shape with random weights, compiled once per (target, encoding)."""

    def __init__(self, bench, name, config):
        self.bench, self.name, self.config = bench, name, config
        self.path = bench.work / f"{name}.json"
        text = json.dumps(config, indent=1)
        if not self.path.exists() or self.path.read_text() != text:
            self.path.write_text(text)
            for stale in bench.work.glob(f"{name}.*.fathom"):
                stale.unlink()

    def artifact(self, target="cpu:native", encoding="q4"):
        made = self.bench.work / f"{self.name}.{target.replace(':', '-')}.{encoding}.fathom"
        compiler = self.bench.bin / "fathom-compile"
        if not made.exists() or made.stat().st_mtime < compiler.stat().st_mtime:
            self.compile(made, [target], encoding)
        return made

    def compile(self, made, targets, encoding):
        """Seconds of each phase."""
        log = run(self.bench.bin / "fathom", "compile", self.path, "--weights=random:1",
                  f"--quantize={encoding}", *[f"--target={t}" for t in targets], "-o", made)
        found = re.findall(r"\] (\w+) +([\d.]+) s", log.stdout + log.stderr)
        return {phase: float(seconds) for phase, seconds in found}

    def measure(self, *flags, target="cpu:native", encoding="q4", rounds=None):
        """What fathom bench says, its tests by name."""
        out = run(self.bench.bin / "fathom", "bench", "-m", self.artifact(target, encoding),
                  "--device", "cpu", "--json", "-q", "-r", rounds or self.bench.repetitions, *flags)
        data = json.loads(out.stdout)
        data["tests"] = {t["test"]: t for t in data["tests"]}
        for test in data["tests"].values():
            test["rates"] = [r["tokens_per_second"] for r in test["rounds"]]
        return data

    def rate(self, test, *flags, **how):
        return self.measure(*flags, **how)["tests"][test]["median_tokens_per_second"]

    def parameters_per_token(self):
        """Elements of the matrices that a token of a prefill is multiplied with."""
        c = self.config
        hidden, layers = c["hidden_size"], c["num_hidden_layers"]
        heads, inner = c["num_attention_heads"], c["intermediate_size"]
        if "kv_lora_rank" not in c:
            size = c["head_dim"]
            attention = 2 * hidden * size * (heads + c["num_key_value_heads"])
            return layers * (attention + 3 * hidden * inner)
        rank, rope = c["kv_lora_rank"], c["qk_rope_head_dim"]
        nope, value = c["qk_nope_head_dim"], c["v_head_dim"]
        query = c.get("q_lora_rank")
        wide = heads * (nope + rope)
        attention = (query * (hidden + wide) if query else hidden * wide) + hidden * (rank + rope)
        attention += rank * heads * (nope + value) + heads * value * hidden
        dense = c["first_k_dense_replace"]
        chosen = c["num_experts_per_tok"] + c["n_shared_experts"]
        routed = chosen * 3 * hidden * c["moe_intermediate_size"] + hidden * c["n_routed_experts"]
        return layers * attention + dense * 3 * hidden * inner + (layers - dense) * routed

    def attention_flops(self, context):
        """Of one token in decode, absorbed form."""
        c = self.config
        width = 2 * c["kv_lora_rank"] + c["qk_rope_head_dim"]
        return 2 * c["num_hidden_layers"] * c["num_attention_heads"] * width * context


def quotients(above, below):
    """Of each round."""
    return [a / b for a, b in zip(above, below)]


def median_of(values, text):
    return text.format(statistics.median(values))


class Bench:
    def __init__(self, args):
        self.bin, self.work, self.repetitions = args.bin, args.work, args.repetitions
        self.pairs = 3 * self.repetitions  # rounds of short runs whose difference counts
        self.work.mkdir(parents=True, exist_ok=True)
        self.peaks = {}
        config = {"v2-lite": "deepseek_v2_lite", "ds-small": "ds_small"}
        self.main = self.published(args.shape, config[args.shape])
        self.small = self.published("ds-small", "ds_small")
        self.dense = Model(self, "dense-1b", DENSE)

    def published(self, name, config):
        return Model(self, name, json.loads((CONFIGS / f"{config}.json").read_text()))

    def kernels(self, encoding, target="cpu:native"):
        """Rates of the isolated kernels and of their instruction, the best seen so far."""
        text = run(self.bin / "kernel_bench", target, encoding).stdout
        best = self.peaks.setdefault((encoding, target), {})
        for kind, threads, rest in re.findall(r"(matvec|matmul|units) .*?(\d) threads? +(.*)", text):
            numbers = [float(n) for n in re.findall(r"[\d.]+", rest)]
            for name, value in zip((f"{kind}{threads}", f"{kind}{threads} bound"), numbers):
                best[name] = max(best.get(name, 0), value)
        return best

    def row(self, title, measured, bound, share, goal, at_least=True):
        """`share` may be a list, one of each round."""
        spread = ""
        if isinstance(share, list):
            spread = f"[{min(share):.2f} {max(share):.2f}]"
            share = statistics.median(share)
        fine = share >= goal if at_least else share <= goal
        print(f"{title:<58} {measured:>16} {bound:>22} {share:7.2f} {'>=' if at_least else '<='}"
              f" {goal:<5.2f} {spread:<13} {'' if fine else 'MISSED'}".rstrip(), flush=True)

    # --- The rows -------------------------------------------------------------------------------

    def decode(self):
        data = self.main.measure("-p", 0, "-n", 32, "-d", 0)
        test = data["tests"]["tg32"]
        self.row(f"1 decode, {self.main.name} q4, empty context",
                 f"{test['median_tokens_per_second']:.1f} tok/s",
                 f"{data['read_bandwidth_bytes_per_second'] / 1e9:.1f} GB/s",
                 test["of_bandwidth"], 0.9)

    def prefill(self):
        for tokens, goal in ((128, 0.5), (512, 0.7), (2048, 0.75)):
            self.kernels("q4")
            rate = self.main.rate(f"pp{tokens}", "-p", tokens, "-n", 0)
            # The int8 dot product's matmul, whether or not matrix units do better.
            gops = self.kernels("q4")["matmul2"]
            bound = gops * 1e9 / (2 * self.main.parameters_per_token())
            self.row(f"2 prefill of {tokens}, {self.main.name} q4, against our q4 matmul",
                     f"{rate:.1f} tok/s", f"{gops:.0f} GOP/s: {bound:.0f} tok/s", rate / bound, goal)

    def depth(self):
        many = dict(self.main.config, num_attention_heads=128, num_key_value_heads=128,
                    num_hidden_layers=min(6, self.main.config["num_hidden_layers"]))
        for model in (self.main, Model(self, f"{self.main.name}-128-heads", many)):
            data = model.measure("-p", 0, "-n", 16, "-d", "0,4096,16384", rounds=self.pairs)
            peak = self.kernels("bf16")["matmul2 bound"] * 1e9
            for depth in (4096, 16384):
                self.added(f"3 decode at {depth}, {model.name}: time added", data, "tg16", depth,
                           model.attention_flops(depth) / peak)
        tests = self.small.measure("-p", 0, "-n", 64, "-d", "0,4096", rounds=self.pairs)["tests"]
        rates = [tests[t]["rates"] for t in ("tg64", "tg64 @ d4096")]
        self.row("3 decode at 4096 against empty, ds-small q4", median_of(rates[1], "{:.1f} tok/s"),
                 median_of(rates[0], "{:.1f} tok/s"), quotients(rates[1], rates[0]), 0.7)
        data = self.dense.measure("-p", 0, "-n", 16, "-d", "0,4096", rounds=self.pairs)
        self.added("3 decode at 4096, grouped-query (dense-1b): time added", data, "tg16", 4096)

    def added(self, title, data, test, depth, bound=0):
        """Seconds that a token at this depth takes longer than one without context, beside those of
        reading its cache (or `bound`, if more)."""
        read = depth * data["cache_bytes_per_context_token"]
        bound = max(read / data["read_bandwidth_bytes_per_second"], bound)
        rates = [data["tests"][t]["rates"] for t in (test, f"{test} @ d{depth}")]
        added = [1 / deep - 1 / empty for empty, deep in zip(*rates)]
        self.row(title, median_of([1e3 * a for a in added], "{:.2f} ms"), f"{bound * 1e3:.2f} ms",
                 [a / bound for a in added], 1.3, False)

    def batch(self):
        for model, goal in ((self.main, 3.0), (self.dense, 5.0)):
            tests = model.measure("-p", 0, "-n", 16, "-b", "1,8", rounds=self.pairs)["tests"]
            one, eight = (tests[t]["rates"] for t in ("tg16", "tg16 x 8"))
            self.row(f"4 decode of 8 sequences, {model.name} q4", median_of(eight, "{:.1f} tok/s"),
                     median_of(one, "{:.1f} tok/s for one"), quotients(eight, one), goal)
        for model in (self.main, self.dense):
            out = run(self.bin / "batch_bench", model.artifact(), 512, 8, self.repetitions, 1024)
            took = json.loads(out.stdout)
            parts = [sum(both) for both in zip(took["chunk"], took["steps"])]
            # The parts are what the call runs; 2 % is what medians of the same work differ by.
            self.row(f"4 512 tokens beside 8 decodes at 1024, {model.name} q4",
                     median_of(took["mixed"], "{:.3f} s"), median_of(parts, "{:.3f} s apart"),
                     quotients(took["mixed"], parts), 1.02, False)

    def loading(self):
        """From a warm file cache to the first token; each load is a process of its own."""
        path = self.main.artifact()

        def load(mode):
            return json.loads(run(self.bin / "load_bench", path, mode).stdout)

        load("read")  # warms the file cache
        runs = {mode: [] for mode in ("read", "copy", "pass", "map")}
        for _ in range(min(self.repetitions, 3)):
            for mode, found in runs.items():
                found.append(load(mode))
        took = {m: statistics.median(r["seconds"] for r in found) for m, found in runs.items()}
        size = runs["read"][0]["bytes"]
        self.row(f"5 first token, {self.main.name} q4, copied ({size / 2**30:.1f} GiB)",
                 f"{took['copy']:.2f} s", f"{took['read']:.2f} s to read it",
                 took["copy"] / took["read"], 2.0, False)
        bound = 0.3 + took["pass"]
        self.row(f"5 first token, {self.main.name} q4, mapped", f"{took['map']:.2f} s",
                 f"{bound:.2f} s, a pass + 0.3", took["map"] / bound, 1.0, False)
        plan = json.loads(run(self.bin / "fathom", "plan", path, "-c", 512, "--json").stdout)
        bound = size + plan["total"] - plan["weights"] + 200 * 2**20
        for mode in ("copy", "map"):
            peak = max(r["peak_bytes"] for r in runs[mode])
            self.row(f"5 peak memory of that, {mode}", f"{peak / 2**20:.0f} MiB",
                     f"{bound / 2**20:.0f} MiB", peak / bound, 1.0, False)

    def growing(self):
        curves = growth.measure(self, Model)
        (self.work / "growth.json").write_text(json.dumps(curves, indent=1))
        for curve in curves:
            x, t = curve["points"][-1]
            line = growth.linear(curve)
            self.row(f"8 {curve['title']}", f"{t * 1e3:.1f} ms at {x}",
                     f"{line * 1e3:.1f} ms if linear", t / line, growth.LIMIT, False)
        try:
            print(f"drawn: {growth.draw(curves).relative_to(ROOT)}")
        except ImportError as error:
            print(f"not drawn, expected Debian's python3-matplotlib: {error}")

    def written(self, path, size):
        """Seconds until `size` bytes of a new file are on the disk, past the page cache."""
        piece = mmap.mmap(-1, 8 << 20)  # aligned as direct writes need it
        path.unlink(missing_ok=True)
        flags = os.O_WRONLY | os.O_CREAT | os.O_DIRECT
        start = time.monotonic()
        file = os.open(path, flags)
        for _ in range(0, size, len(piece)):
            os.write(file, piece)
        os.fsync(file)
        os.close(file)
        seconds = time.monotonic() - start
        path.unlink()
        return seconds

    def compiling(self):
        made = self.work / "compile.fathom"
        size = self.main.artifact().stat().st_size
        print(f"plain write of {size / 1e9:.2f} GB past the cache: {self.written(made, size):.1f} s")
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        phases = self.main.compile(made, ["cpu:native"], "q4")
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        print(f"processor time of compiling: {after.ru_utime - before.ru_utime:.1f} s in the "
              f"program, {after.ru_stime - before.ru_stime:.1f} s in the system")
        total = 2 * json.loads(run(self.bin / "fathom", "inspect", made, "--json").stdout)[
            "model"]["parameters"]
        rate = total / phases["emit"] / 1e6 / 2
        self.row(f"6 encoding to q4 and writing, {self.main.name}, per core", f"{rate:.0f} MB/s",
                 "250 MB/s", rate / 250, 1.0)
        both = self.main.compile(made, ["cpu:native", "cpu:x86-64-v3"], "q4")
        added = both["codegen"] - phases["codegen"]
        self.row("6 a second target adds", f"{added:.1f} s", "10 s", added / 10, 1.0, False)
        # `made` was there, so its weights were taken over: reading and copying instead of encoding.
        self.row("6 recompiling, weights reused", f"{both['emit']:.1f} s",
                 f"{phases['emit']:.1f} s to encode", both["emit"] / phases["emit"], 1.0, False)
        made.unlink()

    def threads(self):
        prefill = {128: {1: [], 2: []}, 512: {1: [], 2: []}}
        decode, share, bandwidth = ({1: [], 2: [], 4: []} for _ in range(3))
        for _ in range(self.repetitions):
            for count in decode:
                lengths = [tokens for tokens, rates in prefill.items() if count in rates]
                tests = self.main.measure("-p", ",".join(map(str, lengths or [0])), "-n", 16,
                                          "-t", count, rounds=3)["tests"]
                for tokens in lengths:
                    prefill[tokens][count].append(tests[f"pp{tokens}"]["median_tokens_per_second"])
                decode[count].append(tests["tg16"]["median_tokens_per_second"])
                share[count].append(tests["tg16"]["of_bandwidth"])
                bandwidth[count].append(tests["tg16"]["read_bandwidth_bytes_per_second"])
        for tokens, rates in prefill.items():
            self.row(f"7 prefill of {tokens}, two workers against one",
                     median_of(rates[2], "{:.1f} tok/s"), median_of(rates[1], "{:.1f} tok/s"),
                     quotients(rates[2], rates[1]), 1.9)
        self.row("7 decode, two workers, against the bandwidth's scaling",
                 median_of(quotients(decode[2], decode[1]), "{:.2f} x"),
                 median_of(quotients(bandwidth[2], bandwidth[1]), "{:.2f} x"),
                 quotients(share[2], share[1]), 0.95)
        self.row("7 decode, four workers on two cores against two",
                 median_of(decode[4], "{:.1f} tok/s"), median_of(decode[2], "{:.1f} tok/s"),
                 quotients(decode[4], decode[2]), 0.95)

    def narrow(self):
        native, avx2 = [], []
        for _ in range(self.repetitions):
            for target, rates in (("cpu:native", native), ("cpu:x86-64-v3", avx2)):
                tests = self.main.measure("-p", 0, "-n", 32, target=target, rounds=3)["tests"]
                rates.append(tests["tg32"]["median_tokens_per_second"])
        self.row(f"9 decode with AVX2 only, {self.main.name} q4", median_of(avx2, "{:.1f} tok/s"),
                 median_of(native, "{:.1f} tok/s native"), quotients(avx2, native), 0.5)


ROWS = {1: Bench.decode, 2: Bench.prefill, 3: Bench.depth, 4: Bench.batch, 5: Bench.loading,
        6: Bench.compiling, 7: Bench.threads, 8: Bench.growing, 9: Bench.narrow}


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bin", type=pathlib.Path, default=ROOT / "build/dev/bin")
    parser.add_argument("--work", type=pathlib.Path, default=ROOT / "build/dev/bench")
    parser.add_argument("--shape", choices=["v2-lite", "ds-small"], default="v2-lite")
    parser.add_argument("--rows", default=",".join(map(str, ROWS)), help="numbers, with commas")
    parser.add_argument("-r", "--repetitions", type=int, default=5)
    args = parser.parse_args()
    bench = Bench(args)
    print(f"{'row':<58} {'measured':>16} {'bound or base':>22} {'ratio':>7}    goal  [rounds]")
    for number in map(int, args.rows.split(",")):
        if number not in ROWS:
            sys.exit(f"--rows: expected some of {sorted(ROWS)}, found {number}")
        ROWS[number](bench)


if __name__ == "__main__":
    main()
