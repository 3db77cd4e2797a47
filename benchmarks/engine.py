"""What a fit costs on a Ray cluster of two nodes beside a process of this machine, and from how many seconds a fit that pays.

    python -m benchmarks.engine            the extra [ray] is needed; some minutes on two idle cores
    python -m benchmarks.engine --full     more rounds, and longer fits

Both nodes are on this machine, a core each, so nothing here is of a network.  The same fit is carried out in this process, in
one of its own and on the cluster, in turn; all three must end with the same bits.  Then a panel of 100 MB goes to both nodes,
and two more fits find it there.  Then fits are trained one at a time here and two at a time there.  Last line: JSON.
"""

import argparse
import json
import os
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median

from benchmarks._steps import job_of, make_panel
from models.data.panel import content_digest
from models.fit.job import Job, read_result
from models.worker import keep_memory, work
from tasks.engine.choice import engine
from tasks.engine.contract import Listener
from tasks.train.process import fit_folder, run_fit

NODES, FITS = 2, 4
SMALL, LARGE = (20, 1_000), (200, 11_400)  # series x steps: 1 MB, and 100 MB
SECONDS, LONG = (1.0, 5.0), (1.0, 5.0, 20.0)  # that a fit is to take
MANY = (2, 4, 16)  # fits, for which it is said from how many seconds two nodes pay
STEPS = (20, 520)  # of an optimizer, whose pace is what lies between
STORE = 512 * 2**20  # bytes of a node's object store


@contextmanager
def cluster(folder: Path) -> Iterator[list[Path]]:
    """Two nodes with a core and a cache each, below a head that runs nothing, on loopback; gives the caches."""
    from ray.cluster_utils import Cluster

    os.environ |= {"RAY_USAGE_STATS_ENABLED": "0", "RAY_TMPDIR": tempfile.mkdtemp(prefix="ray-")}
    head = {"num_cpus": 0, "include_dashboard": False, "node_ip_address": "127.0.0.2", "object_store_memory": STORE}
    ray_cluster = Cluster(initialize_head=True, head_node_args=head)
    caches = [folder / f"node-{number}" for number in range(NODES)]
    try:
        for number, cache in enumerate(caches, start=3):  # Ray takes 127.0.0.1 for the name of another address
            its = {"node_ip_address": f"127.0.0.{number}", "env_vars": {"LAGLINE_CACHE": str(cache)}}
            ray_cluster.add_node(**its, num_cpus=1, object_store_memory=STORE)
        os.environ["RAY_ADDRESS"] = ray_cluster.address
        yield caches
    finally:
        import ray

        ray.shutdown()
        ray_cluster.shutdown()
        shutil.rmtree(os.environ["RAY_TMPDIR"], ignore_errors=True)


def panel(folder: Path, series: int, steps: int) -> Path:
    """Random numbers as a panel in a folder that is named by its content."""
    made = folder / "panel"
    made.mkdir(parents=True)
    make_panel(made, series, steps)
    digest = content_digest(made)
    panel_facts = json.loads((made / "panel.json").read_text()) | {"digest": digest}
    (made / "panel.json").write_text(json.dumps(panel_facts))
    return made.rename(folder / digest)


def fit_of(data: Path, steps: int, optimizer_steps: int, seed: int = 0, stride: int = 24) -> Job:
    """A GRU of 16 units that takes so many steps of an optimizer, on one thread."""
    job = job_of("gru", data, 16, stride=stride, lookback=48, steps=steps)
    job = replace(job, threads=1, evaluation_stride=24 * stride)
    return job.with_training(max_epochs=10**6, patience_epochs=10**6, max_steps=optimizer_steps, batch_size=64, seed=seed)


def through(name: str, jobs: Sequence[Job], home: Path, at_a_time: int = 1) -> float:
    """Seconds that fits take through an engine, so many at a time."""
    os.environ["LAGLINE_ENGINE"] = name
    started = time.perf_counter()
    with ThreadPoolExecutor(at_a_time) as pool:
        outcomes = list(pool.map(lambda job: run_fit(job, home, Listener(), threading.Event()), jobs))
    assert all(outcome.result.finished and not outcome.reused for outcome in outcomes)
    return time.perf_counter() - started


@dataclass(frozen=True)
class Cost:
    """Seconds of one fit in this process (`work`), in a process of its own, and on the cluster; medians of rounds in turn."""

    work: float
    local: float
    ray: float

    @property
    def overhead(self) -> tuple[float, float]:
        """What a process of its own adds to a fit, and what the cluster adds."""
        return self.local - self.work, self.ray - self.work


def one_way(way: str, job: Job, folder: Path) -> tuple[float, str]:
    """Seconds of a fit in this process, which has everything imported, or through an engine; and the hash of its weights."""
    if way != "work":
        seconds = through(way, [job], folder)
        return seconds, read_result(fit_folder(job, folder)).weights
    folder.mkdir(parents=True)
    started = time.perf_counter()
    work(job, folder, (), "", threading.Event(), lambda line: None)
    return time.perf_counter() - started, read_result(folder).weights


def cost_of_a_fit(folder: Path, rounds: int, steps: int) -> tuple[Cost, bool]:
    """The cost of a fit, and whether its weights were the same bits all three ways."""
    data, times, same, ways = panel(folder / "small", *SMALL), dict[str, list[float]](), True, ("work", "local", "ray")
    one_way("work", fit_of(data, SMALL[1], steps), folder / "warm")
    for number in range(rounds):
        job, weights = fit_of(data, SMALL[1], steps, seed=number), set()
        for way in (*ways[number % 3 :], *ways[: number % 3]):
            seconds, digest = one_way(way, job, folder / f"{way}-{number}")
            times.setdefault(way, []).append(seconds)
            weights.add(digest)
        same &= len(weights) == 1
    return Cost(**{way: median(seconds) for way, seconds in times.items()}), same


def shipping(folder: Path, caches: Sequence[Path]) -> dict[str, float]:
    """Seconds that two fits, one a node, take with a large panel that no node has, and two more with it; each at once.

    In between nothing else changes, so the difference is what it takes to ship the panel to both."""
    data = panel(folder / "large", *LARGE)
    first, second = (
        through("ray", [fit_of(data, LARGE[1], 1, seed=seed, stride=5_000) for seed in seeds], folder / "ray", NODES)
        for seeds in (range(NODES), range(NODES, 2 * NODES))
    )
    held = [cache / "panels" / data.name / "values.npy" for cache in caches]
    assert all(path.is_file() for path in held), "a node has no panel: both fits ran on one"
    size = sum(path.stat().st_size for path in data.iterdir())
    return {"panel_mb": size / 1e6, "first_seconds": first, "second_seconds": second, "shipping_seconds": first - second}


def pace(folder: Path) -> tuple[float, float]:
    """Seconds of an optimizer step, and those of a fit beside its steps; in this process."""
    data, (few, many) = panel(folder / "pace", *SMALL), STEPS
    short, long = (one_way("work", fit_of(data, SMALL[1], steps), folder / f"pace-{steps}")[0] for steps in STEPS)
    step = max((long - short) / (many - few), 1e-6)
    return step, max(0.0, short - few * step)


def side_by_side(folder: Path, seconds: float, step: float, beside: float) -> dict[str, float]:
    """Fits of so many seconds, one at a time here and two at a time on the cluster."""
    data, steps = panel(folder / f"of-{seconds:g}", *SMALL), max(1, round((seconds - beside) / step))
    jobs = [fit_of(data, SMALL[1], steps, seed=1_000 + number) for number in range(FITS)]
    local = through("local", jobs, folder / f"local-{seconds:g}")
    ray = through("ray", jobs, folder / f"ray-{seconds:g}", NODES)
    return {"seconds_asked": seconds, "local": local, "ray": ray, "ratio": local / ray}


def pays_from(fits: int, cost: Cost, start: float) -> float:
    """The seconds that each of so many fits must take for two nodes to be done before one machine of a node's size.

    Here: fits x (work + local overhead); there: start + turns x (work + overhead of the cluster), a turn having a fit a node.
    """
    (local, ray), turns = cost.overhead, -(-fits // NODES)
    return max(0.0, (start + turns * ray - fits * local) / (fits - turns))


def measured(folder: Path, caches: Sequence[Path], rounds: int, lengths: Sequence[float]) -> dict[str, object]:
    """Everything, printed as it comes."""
    os.environ["LAGLINE_ENGINE"] = "ray"
    started = time.perf_counter()
    assert len(engine().pool().nodes) == NODES
    connected = time.perf_counter() - started
    trips = engine().round_trips()
    print(f"connected, and both nodes asked: {connected:.1f} s; 1 MB there and back: {1000 * max(trips.values()):.0f} ms")
    data = panel(folder / "first", *SMALL)
    firsts = through("ray", [fit_of(data, SMALL[1], STEPS[0], seed) for seed in range(NODES)], folder / "first-ray", NODES)
    print(f"the first fit on each node: {firsts:.1f} s")
    cost, same = cost_of_a_fit(folder, rounds, STEPS[0])
    local, ray = cost.overhead
    print(f"a fit of {cost.work:.2f} s: {cost.local:.2f} s in a process of its own, {cost.ray:.2f} s on the cluster")
    print(f"  overhead a fit: {local:.2f} s local, {ray:.2f} s ray (asked: 1.5); the same bits: {'yes' if same else 'NO'}")
    ship = shipping(folder, caches)
    print(
        f"a panel of {ship['panel_mb']:.0f} MB: two fits that ship it {ship['first_seconds']:.1f} s, two that find it there "
        f"{ship['second_seconds']:.1f} s"
    )
    step, beside = pace(folder)
    lines = [side_by_side(folder, seconds, step, beside) for seconds in lengths]
    for line in lines:
        words = f"{line['local']:.1f} s one at a time here, {line['ray']:.1f} s on two nodes ({line['ratio']:.2f} x)"
        print(f"{FITS} fits of about {line['seconds_asked']:g} s: {words}")
    start = connected + max(0.0, firsts - cost.ray)
    pays = {str(fits): pays_from(fits, cost, start) for fits in MANY}
    print("two nodes pay from: " + ", ".join(f"{value:.1f} s a fit of {fits}" for fits, value in pays.items()))
    return {
        "connect_seconds": connected,
        "first_fit_seconds": firsts,
        "work_seconds": cost.work,
        "local_overhead_seconds": local,
        "ray_overhead_seconds": ray,
        "ray_over_local": cost.ray / cost.local,
        "same_bits": same,
        "panel": ship,
        "side_by_side": lines,
        "pays_from_seconds": pays,
        "round_trip_ms": 1000 * max(trips.values()),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--full", action="store_true", help="more rounds, and longer fits")
    given = parser.parse_args()
    from tasks.engine.ray import INSTALL

    try:
        import ray.cluster_utils  # noqa: F401
    except ModuleNotFoundError:
        print(f"benchmarks.engine: Ray is not installed here; {INSTALL}", file=sys.stderr)
        sys.exit(2)
    os.environ["LAGLINE_DEVICE"] = "cpu"
    keep_memory()
    with tempfile.TemporaryDirectory() as name, cluster(Path(name)) as caches:
        figures = measured(Path(name), caches, *((9, LONG) if given.full else (5, SECONDS)))
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
