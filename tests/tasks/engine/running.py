"""The fits that run below this process, whichever way they were started."""

import psutil


def running_fits() -> list[psutil.Process]:
    """Workers started as processes, and forks of the fork server."""
    fits = []
    for child in psutil.Process().children(recursive=True):
        try:
            parent = child.parent()
            if "models.worker" in child.cmdline() or (parent is not None and "models.forkserver" in parent.cmdline()):
                fits.append(child)
        except psutil.Error:  # it has just ended
            continue
    return fits
