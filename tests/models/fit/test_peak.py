"""The memory that a fit says it took."""

import resource
import subprocess
import sys
from pathlib import Path

import pytest

from models.fit.peak import _peak_bytes

ROOT = Path(__file__).resolve().parents[3]


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="elsewhere the system counts a parent's memory too")
def test_the_memory_of_a_fit_is_its_own_and_not_its_parent_s() -> None:
    """A child of a parent that holds 600 MB more reports what one of a small parent does."""
    child = "from models.fit.peak import peak_memory; print(peak_memory('cpu')[0])"
    parent = "import subprocess, sys; held = bytearray(int(sys.argv[1])); held[::4096] = b'x' * len(held[::4096]); "
    parent += f"print(subprocess.check_output([sys.executable, '-c', {child!r}], text=True))"
    small, large = (
        float(subprocess.check_output([sys.executable, "-c", parent, str(size)], cwd=ROOT, text=True))
        for size in (1, 600 * 10**6)
    )
    assert small > 50 and large < 1.2 * small


def test_where_the_system_keeps_no_such_count_the_peak_is_that_of_getrusage(tmp_path: Path) -> None:
    (tmp_path / "status").write_text("Name:\tpython\n")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    for status in (tmp_path / "status", tmp_path / "none"):
        assert _peak_bytes(status) >= peak > 0
