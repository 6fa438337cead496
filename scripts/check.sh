#!/usr/bin/env bash
# Format, lints, docs, licences. Runs all of them and fails at the end, so that one run shows everything.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

failed=()
check() { step "$@" || failed+=("$1"); }

check "format" cargo fmt --check
check "clippy" cargo clippy --locked --all-targets -- -D warnings
check "docs" env RUSTDOCFLAGS="-D warnings" cargo doc --locked --no-deps

# The advisory database needs a network that CI may not have: `just deny-advisories`.
if command -v cargo-deny >/dev/null; then
  check "licences and bans" cargo deny --locked check --hide-inclusion-graph bans licenses sources
else
  say "SKIPPED licences and bans: no cargo-deny on PATH (cargo install --locked cargo-deny)"
fi

check "scripts" bash -n .ci/run scripts/*.sh
check "python" python3 -c '
import pathlib
for folder in ("dashboards", "plugins", "sdk", "tests"):
    for path in sorted(pathlib.Path(folder).rglob("*.py")):
        compile(path.read_bytes(), str(path), "exec")
'

((${#failed[@]} == 0)) || die "failed: $(printf '%s, ' "${failed[@]}" | sed 's/, $//')"
