"""Code from outside that a version forecasts with: imported only as a local run file has it, never from the version."""

import hashlib
import zipfile
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path, PurePosixPath

from models.outside import Outside, OutsideError
from params.errors import UserError
from tasks.registry.load import Version
from tasks.train.outside import code_here

ARCHIVE = "outside.zip"  # in a bundle, for processes without a run file; `models/serving.py` imports from it
DAY_0 = (1980, 1, 1, 0, 0, 0)  # the same bytes whenever it is written


def admit(version: Version, home: Path, judging: bool = False) -> None:
    """Takes in a version's baselines from outside, so that it can forecast in this process.

    `judging`: also the one that it is measured against.  Raises UserError if no local run file of its name
    names the code, or one of its files has another hash than recorded.
    """
    own = version.facts.code
    wanted = {code.target: code for code in (*own, *(version.trained_on.bar_code if judging else ()))}
    if not wanted:
        return
    here = code_here(wanted.values(), version.facts.name, home)
    for code in here:
        _check_files(version, code.target, wanted[code.target].files, code.files)
    if own:
        _check_files(version, ARCHIVE, {file: digest for code in own for file, digest in code.files.items()}, _packed(version))
    from models.baseline_fit import take_in_baselines  # imports pandas: only when needed

    try:
        take_in_baselines(here)
    except OutsideError as error:
        raise UserError(f"{version}: {error}") from error


def _check_files(version: Version, what: str, recorded: Mapping[str, str], present: Mapping[str, str]) -> None:
    """Raises UserError unless all files are there with their hashes, and no others."""
    for file in sorted({*recorded, *present}):
        if recorded.get(file) != present.get(file):
            then, now = (known.get(file, "none")[:12] for known in (recorded, present))
            raise UserError(
                f"{version} forecasts with {what}, code from outside this repository, and {file} is not as recorded "
                f"({then} then, {now} now): it is not imported; bring the recorded file back, or compare again"
            )


def _packed(version: Version) -> dict[str, str]:
    """The sha256 of each file in a version's archive."""
    try:
        with zipfile.ZipFile(version.folder / ARCHIVE) as archive:
            return {name: hashlib.sha256(archive.read(name)).hexdigest() for name in archive.namelist() if name[-1:] != "/"}
    except (OSError, zipfile.BadZipFile) as error:
        raise UserError(f"{version} is damaged and is not used: {ARCHIVE}: {error}") from None


def packed(code: tuple[Outside, ...]) -> bytes:
    """An archive of the files of some code, each as hashed.  Raises UserError if one has changed."""
    files = {file: (Path(one.root) / file, digest) for one in code for file, digest in one.files.items()}
    made = BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_STORED) as archive:
        for folder in sorted({f"{above}/" for file in files for above in PurePosixPath(file).parents[:-1]}):
            archive.writestr(zipfile.ZipInfo(folder, DAY_0), b"")  # a package without __init__.py is found by it
        for file, (path, digest) in sorted(files.items()):
            content = path.read_bytes()
            if hashlib.sha256(content).hexdigest() != digest:
                raise UserError(f"{path} has changed since this command began: start it again")
            archive.writestr(zipfile.ZipInfo(file, DAY_0), content)
    return made.getvalue()
