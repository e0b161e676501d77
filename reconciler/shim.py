"""Where a program that was started before its files were replaced still looks for `runners/supervisor.py`."""

import os.path
import runpy

if __name__ == "__main__":
    runpy.run_path(os.path.join(os.path.dirname(__file__), "runners", "supervisor.py"), run_name="__main__")
