"""A Slack bot that unsubscribes virtual numbers at Cellcast: requested, confirmed, called once, reported."""

import sys
from pathlib import Path

__version__ = "0.1.0"

_SCRIPT = "cellcast-unsubscribe-bot"
# What messages tell you to type. An installation by pipx or uvx has only the script, the image only the module.
PROGRAM = _SCRIPT if Path(sys.argv[0]).name == _SCRIPT else "python -m bot"
