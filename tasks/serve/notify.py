"""Telling somebody: LAGLINE_NOTIFY_COMMAND is run with a JSON of what happened; never stops what it tells of."""

import json
import logging
import os
import shlex
import subprocess
from typing import Any

LIMIT = 60.0  # seconds that the command may take
log = logging.getLogger("lagline.notify")


def notify(event: str, name: str, **facts: Any) -> bool:
    """Runs the command with the JSON as its last argument and on its standard input; whether it was run and ended well.

    `event`: failure, refusal, promotion or warning.
    """
    command = os.environ.get("LAGLINE_NOTIFY_COMMAND", "").strip()
    if not command:
        return False
    text = json.dumps({"event": event, "name": name, **facts}, default=str)
    try:
        subprocess.run([*shlex.split(command), text], input=text, text=True, timeout=LIMIT, check=True, capture_output=True)
    except (OSError, ValueError, subprocess.SubprocessError) as error:
        log.warning("LAGLINE_NOTIFY_COMMAND did not work: %s", error)
        return False
    return True
