#!/usr/bin/env bash
# The page: its types and tests, and that what is built into the binary is what its sources build to.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

PATH=$(scripts/node.sh):$PATH
export PATH

failed=()
check() { step "$@" || failed+=("$1"); }

check "types of the HTTP surface" npm --prefix web run --silent types:check
check "type check" npm --prefix web run --silent check
check "unit tests" npm --prefix web run --silent test
check "build" npm --prefix web run --silent build
# Against the index, so that what is about to be committed counts.
check "web/dist is current" git diff --exit-code --stat -- web/dist
check "web/dist is whole" bash -c '! git ls-files --others --exclude-standard -- web/dist | grep .'

((${#failed[@]} == 0)) || die "failed: $(printf '%s, ' "${failed[@]}" | sed 's/, $//')"
