"""Say clearly what is missing before anything is installed. Runs on any Python 3, needs nothing."""

import importlib.util
import sys

missing = []
if sys.version_info < (3, 11):  # noqa: UP036 - this file must also run, and explain itself, on what is too old
    missing.append(f"Python 3.11 or newer (this is {sys.version.split()[0]}; set PYTHON=python3.12, say)")
if importlib.util.find_spec("venv") is None or importlib.util.find_spec("ensurepip") is None:
    missing.append("the venv module (Debian and Ubuntu: apt install python3-venv)")
if missing:
    sys.exit("Madang can't be set up here. Missing:\n  - " + "\n  - ".join(missing))
