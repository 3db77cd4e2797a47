"""tasks/lags/panel.py: a panel larger than the memory of a process is written, and its windows are iterated."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest

ROOT = Path(__file__).resolve().parents[3]
HEADROOM = 640 << 20  # bytes that the child may take on top of what its imports hold, which differs by machine and by wheel
SERIES, ROWS, FEATURES = 200, 80_000, 9
CHILD = """
import resource, sys
from pathlib import Path
import polars as pl
from models.data.origins import origin_rows
from models.data.panel import Panel
from models.data.window import FeatureWindow, WindowParams
from models.data.windows import Windows
from tasks.grid.frequency import Frequency
from tasks.lags.panel import write_panel

headroom = int(sys.argv[3])
pl.DataFrame({"a": [1]}).lazy().collect()  # the threads of the pool hold memory too
held = next(int(line.split()[1]) << 10 for line in open("/proc/self/status") if line.startswith("VmData:"))
resource.setrlimit(resource.RLIMIT_DATA, (held + headroom, held + headroom))
names = ["y", *(f"x{i}" for i in range(1, 9))]
params = WindowParams(24, {name: FeatureWindow(48) for name in names}, stride=32)
panel = Panel.open(write_panel(pl.scan_parquet(sys.argv[1]), params, Frequency(1), 3, Path(sys.argv[2])))
assert panel.values.nbytes + panel.times.nbytes + panel.target.nbytes > headroom
windows = Windows(panel, params, origin_rows(panel, params, None, "", params.stride))
total, last = 0.0, 0.0
for batch in windows.batches(1024, windows.shuffled(0)):
    total += float(batch.y_BH.double().sum())
    last += float(batch.inputs.past_BLF[:, -1].double().sum())
print(len(windows), total, last)
"""


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="RLIMIT_DATA counts maps on Linux alone")
def test_a_panel_larger_than_memory_is_written_and_iterated(tmp_path: Path) -> None:
    t = pl.int_range(SERIES * ROWS, eager=True, dtype=pl.Int64)
    features = {
        name: ((t * (7 + i)) % 1000).cast(pl.Float32) for i, name in enumerate(["y", *(f"x{i}" for i in range(1, FEATURES))])
    }
    keys = {"unique_id": (t // ROWS).cast(pl.String).str.zfill(4), "ds": t % ROWS}
    pl.DataFrame(keys | features).write_parquet(tmp_path / "table.parquet")
    command = [sys.executable, "-c", CHILD, str(tmp_path / "table.parquet"), str(tmp_path / "panels"), str(HEADROOM)]
    threads = {"POLARS_MAX_THREADS": "2", "OMP_NUM_THREADS": "1"}  # each holds a buffer, and the cores are not what is tried
    done = subprocess.run(command, cwd=ROOT, env=os.environ | threads, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr[-2000:]
    count, total, last = (float(word) for word in done.stdout.split())
    origins = (np.arange(SERIES)[:, None] * ROWS + np.arange(47, ROWS - 24, 32)).ravel()
    values = np.stack([column.to_numpy() for column in features.values()]).astype(np.float64)
    assert count == len(origins)
    assert total == sum(values[0][origins + step].sum() for step in range(1, 25))
    assert last == values[:, origins].sum()
