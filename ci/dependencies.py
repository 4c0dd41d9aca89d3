"""What can be said of the dependencies without building or downloading anything: reads `cargo metadata` on standard input.

Minimum Rust: Cargo.toml, clippy.toml and what is depended on agree. Licences: those that deny.toml allows. Sources: the
public registry. Use: what a Cargo.toml names, some file of that package uses.

Exit code 1, and a line for each fault. (`cargo deny` and `cargo machete` know more; they are not everywhere, and take
minutes to build. .github/workflows/ci.yml has the former.)
"""

import json
import pathlib
import re
import sys
import tomllib

metadata = json.load(sys.stdin)
packages = {package["id"]: package for package in metadata["packages"]}
members = [packages[number] for number in metadata["workspace_members"]]
faults = []


def version(text):
    return tuple((list(map(int, re.findall(r"\d+", text))) + [0, 0])[:3])


# Minimum Rust.
minimum = tomllib.load(open("Cargo.toml", "rb"))["workspace"]["package"]["rust-version"]
lints = tomllib.load(open("Cargo.toml", "rb"))["workspace"]["lints"]["clippy"]
if tomllib.load(open("clippy.toml", "rb"))["msrv"] != minimum:
    faults.append(f"clippy.toml: msrv is not the rust-version of Cargo.toml, {minimum}")
if lints.get("incompatible_msrv") != "deny":
    faults.append("Cargo.toml: clippy's incompatible_msrv is not denied, so nobody sees the use of a newer standard library")
for package in members:
    if package["rust_version"] != minimum:
        faults.append(f"{package['name']}: rust-version is {package['rust_version']}, not {minimum}")
for package in packages.values():
    if version(package["rust_version"] or "1") > version(minimum):
        faults.append(f"{package['name']} {package['version']} wants Rust {package['rust_version']}, and {minimum} is promised")

# Licences: an SPDX expression, or the older way with a slash.
allowed = set(tomllib.load(open("deny.toml", "rb"))["licenses"]["allow"])


def permitted(expression):
    tokens = re.findall(r"[()]|[^\s()]+", expression.replace("/", " OR "))

    def either():
        result = both()
        while tokens and tokens[0] == "OR":
            tokens.pop(0)
            # Both are read, whatever the first says.
            result = both() or result
        return result

    def both():
        result = one()
        while tokens and tokens[0] == "AND":
            tokens.pop(0)
            result = one() and result
        return result

    def one():
        token = tokens.pop(0)
        if token == "(":
            result = either()
            tokens.pop(0)
            return result
        if tokens and tokens[0] == "WITH":
            tokens.pop(0)
            token += f" WITH {tokens.pop(0)}"
        return token in allowed

    return either() and not tokens


for package in packages.values():
    if not package["license"] or not permitted(package["license"]):
        faults.append(f"{package['name']} {package['version']}: its licence, {package['license']}, is not among those of deny.toml")

# Sources.
REGISTRY = "registry+https://github.com/rust-lang/crates.io-index"
for package in packages.values():
    if package["source"] != (None if package in members else REGISTRY):
        faults.append(f"{package['name']} {package['version']} comes from {package['source'] or package['manifest_path']}")

# Use. By the word: a name in a comment would pass, and nothing that is used fails.
for package in members:
    folder = pathlib.Path(package["manifest_path"]).parent
    sources = [path.read_text() for path in folder.rglob("*.rs")]
    for dependency in package["dependencies"]:
        name = (dependency["rename"] or dependency["name"]).replace("-", "_")
        if not any(re.search(rf"\b{name}\b", source) for source in sources):
            faults.append(f"{package['name']} depends on {dependency['name']}, and uses it nowhere")

for fault in faults:
    print(fault)
sys.exit(1 if faults else 0)
