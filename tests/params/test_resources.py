"""What a fit needs of a machine, as a run file says it."""

import pytest

from params.load import load_run, load_variant
from params.resources import ResourceParams
from params.schema import RunParams

RUN = "params/nyc_weather.yaml"


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("4GB", 4 * 10**9),
        ("512MiB", 2**29),
        ("1.5 gb", 1_500_000_000),
        ("2TiB", 2**41),
        ("9000 kB", 9 * 10**6),
        ("3000000", 3 * 10**6),
    ],
)
def test_memory_is_a_size_in_words_or_bytes(text: str, found: int) -> None:
    assert load_run(RUN, [f"training.resources.memory={text}"]).training.resources.memory == found


def test_nothing_is_asked_for_unless_a_file_does() -> None:
    assert load_run(RUN).training.resources == ResourceParams()


def test_one_variant_may_need_more_than_others() -> None:
    settings = ["training.resources={gpus: 0.5, kind: NVIDIA H100 80GB HBM3}"]
    found = load_variant("gru", RUN, settings).run.training.resources
    assert (found.cpus, found.gpus, found.memory, found.kind) == (None, 0.5, None, "NVIDIA H100 80GB HBM3")


def test_a_run_that_a_version_keeps_says_what_it_needed() -> None:
    run = load_run(RUN, ["training.resources.memory=4GB"])
    kept = run.model_dump(mode="json")
    assert RunParams.stored(kept) == run
    del kept["training"]["resources"]  # of an older lagline
    assert RunParams.stored(kept).training.resources == ResourceParams()
