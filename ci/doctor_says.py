"""Reads `cport doctor --json` and says whether a driver is available.

Exit code 0 if it is; otherwise 1, and the reason on standard output. A driver that the report does not name is an
error (exit code 2): the scripts and the command must agree on the names.
"""

import json
import sys

name = sys.argv[1]
report = json.load(sys.stdin)
for driver in report["drivers"]:
    if driver["name"] == name:
        if driver["available"]:
            sys.exit(0)
        print(driver["reason"])
        sys.exit(1)
print(f"`cport doctor --json` does not name {name}")
sys.exit(2)
