import 'manifests/reconcile.just'

set allow-duplicate-recipes

bin := justfile_directory() / ".venv/bin"
export PATH := bin + ":" + env("PATH")

[private]
default:
    @just --list

# Make .venv with the pinned tools and this checkout in it
setup:
    python3 -m venv .venv
    {{bin}}/pip install -q --require-hashes -r constraints-dev.txt
    {{bin}}/pip install -q --no-deps --no-build-isolation -e .

# Lint, types, imports, tests: what CI asks
check: && test
    {{bin}}/ruff check .
    {{bin}}/ruff format --check .
    {{bin}}/mypy
    {{bin}}/lint-imports

# Run the fast tests (arguments go to pytest: `just test -m slow`)
test *args:
    {{bin}}/pytest -q -n auto {{args}}

# Kill everything that can be killed, and see that it goes on (arguments go to pytest)
test-crash-recovery *args:
    {{bin}}/pytest tests/processes/test_recovery.py -v {{args}}

# `just bench --compare HEAD~3 start` runs two commits side by side: a few minutes a row, more than an hour for all;
# `just bench --compare before.json start` shows it beside what `just bench start --json >> before.json` has measured, best thrice
# Measure what the program costs, each figure beside one of the same run (`just bench tick spawn --quick`)
bench *args:
    {{bin}}/python -m tests.bench {{args}}

# Watch fake agents build something in a throwaway repository
demo:
    {{bin}}/reconcile demo

# Pin what pyproject.toml asks for (needs pip-tools; `just pins --upgrade` for newer versions)
pins *args:
    #!/usr/bin/env bash
    set -euo pipefail
    compile() {
        file=$1 what=$2
        shift 2
        pip-compile --quiet --allow-unsafe --generate-hashes --strip-extras --no-annotate --no-header \
            --no-emit-index-url --no-emit-find-links --no-emit-trusted-host -o "$file" "$@" {{args}} pyproject.toml
        printf '# %s. Made by `just pins` from pyproject.toml; not edited by hand.\n%s\n' "$what" "$(cat "$file")" > "$file"
    }
    compile constraints-dev.txt "Everything: to run, build, test and lint" --extra dev --all-build-deps
    compile constraints.txt "What the program runs on" -c constraints-dev.txt
    compile constraints-build.txt "What builds the package" -c constraints-dev.txt --only-build-deps --all-build-deps
