"""What a version says of itself is data: another type, size or form is one message that names the key, before it is used."""

import json
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest

from tasks.registry.facts import BundleFacts
from tasks.registry.schema import check_told

HEX = "a" * 64
Raw = dict[str, Any]


@pytest.fixture(scope="module")
def raw(house: Any) -> Raw:
    """The model.json of a bundle."""
    found: Raw = json.loads(json.dumps(house.facts(trained_on=house.made()).to_dict()))
    return found


def at(place: str, value: Any) -> Callable[[Raw], None]:
    """Puts a value at a place, such as `trained_on.fingerprint.revision`."""

    def put(raw: Raw) -> None:
        *above, last = place.split(".")
        for name in above:
            raw = raw[name]
        raw[last] = value

    return put


CALIBRATION: Raw = {
    "method": "split", "scores": {"split": 1.0, "naive": None}, "levels": [0.05, 0.95], "own": False, "transform": "none",
    "offsets": [[[-1.0, 1.0]] * 4], "units": [1.0, 2.0, 1.5], "groups": [0, 0, 0], "season": 24, "ratio": 1.5, "latest": None,
}  # fmt: skip
THETA: Raw = {"name": "theta", "arguments": {"season": 24, "rows": 500}, "calibration": CALIBRATION}
OLD: Raw = {"name": "theta", "arguments": {"season": 24, "rows": 500}, "half_widths": [1.0, None, 2.0, 3.0]}
PRINT, JOB = "trained_on.fingerprint", "trained_on.job"
HOSTILE: list[tuple[str, Any]] = [
    *(
        (f"{PRINT}.revision", value)
        for value in ("x; touch y", "\x1b[2J", "abc1234\n", "HEAD", "--exec=x", 5, ["a"], "", "a" * 65)
    ),
    *((f"{PRINT}.data", value) for value in (5, "../../etc", HEX + "/..", None, HEX[:63], HEX + "\n", HEX.upper())),
    *((f"{PRINT}.{name}", value) for name in ("identity", "code") for value in (None, 7, "x", HEX + "\x00")),
    (f"{PRINT}.lock", "x"),
    (f"{PRINT}.clean", "yes"),
    (f"{PRINT}.clean", 1),
    (f"{PRINT}.code_rule", 10**30),
    (f"{PRINT}.torch", "2.13; x"),
    (f"{PRINT}.statsforecast", "2.0; x"),
    (f"{PRINT}.python", "\x1b]0;x\x07"),
    *((f"{PRINT}.device", value) for value in ("tpu", "cpu \x1b[31m", "cpu\nx", "cpu " + "x" * 500, 3)),
    *((f"{PRINT}.deterministic.threads", value) for value in (1_000_000, 0, -1, "4", 1.5, True, None)),
    (f"{PRINT}.numbers", "x"),
    (f"{PRINT}.numbers", {}),
    (f"{PRINT}.numbers.family", "eval"),
    (f"{PRINT}.numbers.training.batch_size", 10**20),
    (f"{PRINT}.changed", {"../../.ssh/id": HEX}),
    (f"{PRINT}.changed", {"tasks/../../x.py": HEX}),
    (f"{PRINT}.changed", {"tasks/x.py": "--help"}),
    ("trained_on.fingerprint", 5),
    *((f"{JOB}.threads", value) for value in (1_000_000, 0, "4", True, 2.0)),
    *((f"{JOB}.device", value) for value in ("cuda:9999", "cpu; x", "meta", 0)),
    *((f"{JOB}.family", value) for value in ("os.system", "ensemble", None, ["gru"])),
    (f"{JOB}.network", {"hidden_size": 10**12}),
    (f"{JOB}.network", {"hidden_size": 1e300}),
    (f"{JOB}.network", {"hidden_size": [1]}),
    (f"{JOB}.network", {"cell": "x" * 1000}),
    (f"{JOB}.windows.horizon", 10**9),
    (f"{JOB}.windows.features", {}),
    (f"{JOB}.windows.features", {"y": {"lookback": 10**12}}),
    (f"{JOB}.windows.calendar", ["moon"]),
    (f"{JOB}.windows.start_padding", 10**6),
    (f"{JOB}.split", None),
    (f"{JOB}.split.by", "hand"),
    (f"{JOB}.split.test", 10**30),
    (f"{JOB}.scaling.method", "eval"),
    (f"{JOB}.training.learning_rate", -1.0),
    (f"{JOB}.training.max_epochs", 10**13),
    (f"{JOB}.training.micro_batches", 10**6),
    (f"{JOB}.training.variant", "../x"),
    (f"{JOB}.training.surprise", 1),
    (f"{JOB}.evaluation_stride", 0),
    (f"{JOB}.quantiles", [2.0]),
    (f"{JOB}.save_every", 0.0),
    (f"{JOB}.resources", {"memory": "4GB"}),
    (f"{JOB}.resources", {"gpus": 2.0}),
    (f"{JOB}.resources", {"kind": "H100\n"}),
    (f"{JOB}.resources", {"place": "elsewhere"}),
    ("trained_on.weights", "x"),
    ("trained_on.naive", "theta; x"),
    ("trained_on.newest", 10**40),
    ("trained_on.newest_time", "\x1b[2J"),
    ("trained_on.unseen_from", {"a": "b"}),
    ("trained_on.unseen_from", 1.5),
    ("trained_on.scores", {"val_mae": "good"}),
    ("trained_on.checks", "sure"),
    ("trained_on.stop_steps", [1, 2]),
    ("trained_on.run.name", "../x"),
    ("trained_on.run.training.threads", 1_000_000),
    ("trained_on.run.evaluation", None),
    ("trained_on.run", []),
    ("trained_on.run", "x"),
    ("trained_on", None),
    ("layout", 2),
    ("name", "x/../y"),
    ("variant", "\x1b"),
    ("family", "unheard"),
    ("level", "first"),
    ("ids", "JFK"),
    ("ids", [1]),
    ("ids", []),
    ("frequency", "1h; x"),
    ("frequency", "1h\n"),
    ("frequency", "99999999999999d"),
    ("frequency", 0),
    ("forward_fill", -1),
    ("quantiles", [0.0]),
    ("half_widths", [-1.0, 1.0, 1.0, 1.0]),
    *(
        ("calibration", CALIBRATION | change)
        for change in (
            {"method": ""},
            {"method": 5},
            {"scores": {"split": "good"}},
            {"surprise": 1},
            {"own": 1},
            {"transform": "exp"},
            {"levels": []},
            {"levels": [0.05, 1.0]},
            {"levels": [0.95, 0.05]},
            {"levels": [0.5, 0.5]},
            {"levels": [0.5]},
            {"offsets": []},
            {"offsets": [[[-1.0, 1.0]] * 3]},
            {"offsets": [[[-1.0]] * 4]},
            {"offsets": [[[-1.0, "1"]] * 4]},
            {"offsets": [[[-1.0, 1e301]] * 4]},
            {"units": [1.0, 2.0]},
            {"units": [1.0, -2.0, 1.5]},
            {"units": [1.0, None, 1.0]},
            {"season": 0},
            {"ratio": -1.0},
            {"latest": [1.0, 2.0]},
            {"latest": [1.0, 2.0, -1.0]},
            {"groups": [0, 0]},
            {"groups": [0, 0, 1]},
            {"groups": [0, 0, -1]},
        )
    ),
    ("channels", []),
    ("channels", [{"name": "y", "lookback": 10**6, "sampling_rate": 1, "delay": 0}]),
    ("categories", {"a": [1]}),
    ("columns", {"evil": "x"}),
    ("windows.gap", True),
    ("trained_on.baseline", "ridge"),
    ("trained_on.baseline", "theta; x"),
    ("fallbacks", [{**THETA, "name": "os.system"}]),
    ("fallbacks", [{**OLD, "half_widths": [1.0]}]),
    ("fallbacks", [{**OLD, "half_widths": [-1.0] * 4}]),
    ("fallbacks", [{**THETA, "calibration": CALIBRATION | {"groups": [0, 0, 1]}}]),
    ("fallbacks", [THETA, THETA]),
    ("fallbacks", [{**THETA, "surprise": 1}]),
    ("fallbacks", [{"name": "theta", "arguments": {"season": 24}}]),
    *(
        ("fallbacks", [{**THETA, "arguments": arguments}])
        for arguments in ({}, {"season": 0}, {"season": 10**9}, {"season": 24.0}, {"season": 24, "rows": None}, {"rows": 500})
    ),
    ("combined", {"how": "median", "baselines": [{"name": "theta", "arguments": {"season": 24}}]}),  # of no ensemble
    ("inputs", {}),
]


def test_what_a_bundle_of_ours_says_is_read(raw: Raw) -> None:
    facts = BundleFacts.read(json.dumps(raw).encode())
    assert json.loads(json.dumps(facts.to_dict())) == raw
    for revision, changed in ((None, {}), ("abcdef0", {"models/fit/loop.py": "b" * 40})):
        more = deepcopy(raw)
        more["trained_on"]["fingerprint"] |= {"revision": revision, "changed": changed}
        made = BundleFacts.read(json.dumps(more).encode()).trained_on
        assert made is not None and made.fingerprint["revision"] == revision
    more["of a younger lagline"] = more["trained_on"]["more"] = more["trained_on"]["fingerprint"]["more"] = 1
    BundleFacts.read(json.dumps(more).encode())


@pytest.mark.parametrize(("place", "value"), HOSTILE, ids=lambda part: ascii(part)[:40])
def test_what_no_bundle_says_is_refused_by_its_key(raw: Raw, place: str, value: Any) -> None:
    changed = deepcopy(raw)
    at(place, value)(changed)
    with pytest.raises(ValueError, match=r"^model\.json: ") as refused:
        BundleFacts.read(json.dumps(changed).encode())
    words = str(refused.value)
    assert words.isprintable() and len(words) < 600
    told = words.replace("trained_on.run: ", "trained_on.run.").replace("trained_on: ", "trained_on.")
    assert any(part in told for part in (place, place.rpartition(".")[0] or place))


@pytest.mark.parametrize("content", ["", "x", "[]", "5", "null", "[" * 200_000, '{"layout": NaN}', "\xff"])
def test_what_is_no_object_is_refused(content: str) -> None:
    with pytest.raises(ValueError, match=r"^(model|checks|example)\.json: "):
        BundleFacts.read(content.encode("latin-1"))
    for name in ("checks.json", "example.json"):
        with pytest.raises(ValueError, match=f"^{name}: "):
            check_told(name, content.encode("latin-1"))


def test_the_word_that_the_gate_asks_for_is_true_or_false_and_the_example_is_a_table() -> None:
    check_told("checks.json", b'{"passed": false, "findings": []}')
    for passed in ('"no"', "1", "null", "[]"):
        with pytest.raises(ValueError, match=r"^checks\.json: passed"):
            check_told("checks.json", b'{"passed": %s}' % passed.encode())
    check_told("example.json", b'{"columns": ["unique_id", "y"], "data": [["a", 1.5], ["a", null]]}')
    for text in (
        '{"columns": ["y"], "data": [[1, 2]]}',
        '{"columns": ["y"], "data": []}',
        '{"data": [[1]], "dtype": "object"}',
    ):
        with pytest.raises(ValueError, match=r"^example\.json: "):
            check_told("example.json", text.encode())


def test_an_older_version_has_half_widths_of_one_interval_and_a_version_has_one_of_both(raw: Raw) -> None:
    older = {name: value for name, value in raw.items() if name != "calibration"}
    with pytest.raises(ValueError, match=r"^model\.json: half_widths: one for each of 4 steps"):
        BundleFacts.read(json.dumps(older).encode())
    facts = BundleFacts.read(json.dumps(older | {"half_widths": [1.0, None, 2.0, 0.0], "fallbacks": [OLD]}).encode())
    for one, last in ((facts.calibrated, 0.0), (facts.fallbacks[0].calibrated, 3.0)):
        assert (one.method, one.scores, one.calibration.levels.tolist()) == ("split", {}, [0.05, 0.95])
        assert one.calibration.told()["offsets"][0][0] == [-1.0, 1.0] and one.calibration.offsets[0, -1, -1] == last
        assert one.calibration.told()["offsets"][0][1] == [None, None]


def test_a_family_of_ours_with_members_is_one(raw: Raw, tmp_path: Path) -> None:
    """The job of an ensemble, whose members say all but where they run."""
    job = raw["trained_on"]["job"]
    member = {name: value for name, value in job.items() if name not in ("threads", "device")}
    ensemble = deepcopy(raw)
    ensemble["trained_on"]["job"] |= {"family": "ensemble", "network": {}, "members": [member, member], "combine": "mean"}
    made = BundleFacts.read(json.dumps(ensemble).encode()).trained_on
    assert made is not None and [one.threads for one in made.job.members] == [job["threads"]] * 2
    ensemble["trained_on"]["job"]["members"][0]["family"] = "unheard"
    with pytest.raises(ValueError, match=r"trained_on\.job\.members\.0\.family is 'unheard': no family of this lagline"):
        BundleFacts.read(json.dumps(ensemble).encode())


def test_a_baseline_as_a_version_as_a_member_and_for_what_a_network_cannot_forecast(raw: Raw) -> None:
    version = deepcopy(raw)
    version |= {"variant": "theta", "family": "theta", "network": {"season": 24, "rows": 500}, "inputs": {}}
    version["fallbacks"] = [THETA | {"name": "drift", "arguments": {"season": 24}}]
    facts = BundleFacts.read(json.dumps(version).encode())
    assert facts.needed == {"theta", "drift"} and json.loads(json.dumps(facts.to_dict())) == version
    for change, words in (
        ({"network": {"season": 24, "alpha": 1}}, "network: alpha"),
        ({"network": {}}, "network: season"),
        ({"inputs": {"past_BLF": "float32"}}, "a baseline has no graph"),
        ({"fallbacks": [THETA]}, "none is the version itself"),
    ):
        with pytest.raises(ValueError, match=words):
            BundleFacts.read(json.dumps(version | change).encode())

    both = deepcopy(raw)
    member = {name: value for name, value in raw["trained_on"]["job"].items() if name not in ("threads", "device")}
    theta = member | {"family": "theta", "network": {"season": 24, "rows": 500}}
    both |= {"family": "ensemble", "network": {}}
    both["combined"] = {"how": "mean", "baselines": [{"name": "theta", "arguments": {"season": 24, "rows": 500}}]}
    both["trained_on"]["job"] |= {"family": "ensemble", "network": {}, "members": [member, theta], "combine": "mean"}
    facts = BundleFacts.read(json.dumps(both).encode())
    assert facts.combined is not None and facts.combined.how == "mean" and facts.needed == {"theta"}
    assert json.loads(json.dumps(facts.to_dict())) == both
    for combined in ({"how": "mean", "baselines": []}, {"how": "min", "baselines": both["combined"]["baselines"]}):
        with pytest.raises(ValueError, match=r"model\.json: combined\."):
            BundleFacts.read(json.dumps(both | {"combined": combined}).encode())


def test_a_greedy_ensemble_says_by_what_it_learnt_and_how_often_each_member_counts(raw: Raw) -> None:
    said = deepcopy(raw)
    member = {name: value for name, value in raw["trained_on"]["job"].items() if name not in ("threads", "device")}
    drift = {"name": "drift", "arguments": {"season": 24}}
    said |= {"family": "ensemble", "network": {}}
    said["combined"] = {"how": "mean", "baselines": [drift], "counts": [3, 1]}
    greedy = {"measure": "mase", "season": 24, "lowest": 0.0, "highest": None, "integer": False, "stops": []}
    greedy["others"] = [raw["trained_on"]["job"]["split"]]
    members = [member, member | {"family": "drift", "network": {"season": 24}}]
    said["trained_on"]["job"] |= {"family": "ensemble", "network": {}, "members": members, "combine": "mean", "greedy": greedy}
    said["trained_on"] |= {"counts": {"gru": 3, "drift": 1}, "stop_steps": [None, None, 7, None]}
    facts = BundleFacts.read(json.dumps(said).encode())
    assert facts.combined is not None and facts.combined.counts == (3, 1)
    assert facts.trained_on is not None and facts.trained_on.counts == {"gru": 3, "drift": 1}
    assert facts.trained_on.job.greedy is not None and len(facts.trained_on.job.greedy.others) == 1
    assert json.loads(json.dumps(facts.to_dict())) == said
    for place, value, words in (
        ("counts", {"gru": 3}, "counts: one for each member"),
        ("counts", {"gru": 3, "drift": -1}, r"trained_on\.counts\.drift"),
        ("stop_steps", [None, 7], "in each validation range"),
    ):
        wrong = said | {"trained_on": said["trained_on"] | {place: value}}
        with pytest.raises(ValueError, match=words):
            BundleFacts.read(json.dumps(wrong).encode())
    said["trained_on"]["job"]["greedy"]["measure"] = "luck"
    with pytest.raises(ValueError, match=r"greedy\.measure"):
        BundleFacts.read(json.dumps(said).encode())


def test_an_older_version_says_nothing_of_the_best_baseline(raw: Raw) -> None:
    older = deepcopy(raw)
    del older["trained_on"]["baseline"], older["fallbacks"]
    facts = BundleFacts.read(json.dumps(older).encode())
    assert facts.fallbacks == () and facts.combined is None and facts.needed == frozenset()
    assert facts.trained_on is not None and facts.trained_on.baseline == "" and facts.trained_on.bar == "last_value"
