"""Makes a virtual environment use this working tree: its packages on the path, its commands in bin/.

`pip install .` is for users; here the native modules are built in place by CMake, so that a rebuild is one ninja run.
"""

import sys
import sysconfig
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SCRIPT = """#!{python}
import sys

from {module} import {function}

sys.exit({function}())
"""


def main() -> None:
    site = Path(sysconfig.get_path("purelib"))
    (site / "mrpc-mesh-tree.pth").write_text(f"{ROOT / 'stubs'}\n{ROOT}\n")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    for name, target in project["scripts"].items():
        module, function = target.split(":")
        script = Path(sysconfig.get_path("scripts")) / name
        script.write_text(SCRIPT.format(python=sys.executable, module=module, function=function))
        script.chmod(0o755)


if __name__ == "__main__":
    main()
