"""Set the checkout up, then run the demo: the main job from end to end.

python3 tools/demo.py [options of `pyvgrad demo`]
"""

import os
import sys

import setup

if __name__ == "__main__":
    setup.ensure()
    demo = [str(setup.PYTHON), "-m", "pyvgrad", "demo", *sys.argv[1:]]
    os.execve(demo[0], demo, setup.environment())
