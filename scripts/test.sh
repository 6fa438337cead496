#!/usr/bin/env bash
# `cargo test`, and then the sum over its binaries. Arguments go to cargo.
#
# What an absent program would be needed for is skipped, and said so, unless SPANGLASS_TEST_REQUIRE=all.
# Real parts are found here:
#   SPANGLASS_TEST_OTELCOL   a collector (scripts/collector.sh prints the path of one)
#   SPANGLASS_TEST_PYTHON    a Python with prometheus_client and pytest, uv beside it (scripts/python.sh prints the path of one)
#   SPANGLASS_TEST_GRAMMARS  a folder with the grammars of PromQL, LogQL and TraceQL (scripts/grammars.sh prints its path)
#   SPANGLASS_TEST_COMPOSE   a reader of compose files (scripts/compose.sh prints its path)
#   SPANGLASS_TEST_UV        another uv
#   PATH                     prometheus, promtool, prometheus-alertmanager, amtool, node, python3, curl
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

output=$(mktemp)
trap 'rm -f "$output"' EXIT

status=0
cargo test --locked "$@" 2>&1 | tee "$output" || status=$?

# One line a binary is easy to misread: the last ones are often of binaries without tests.
awk '/^test result: / {
       for (i = 2; i <= NF; i++) {
         if ($i ~ /^passed/) passed += $(i - 1)
         if ($i ~ /^failed/) failed += $(i - 1)
         if ($i ~ /^ignored/) ignored += $(i - 1)
       }
     }
     END {
       printf "tests: %d passed, %d failed", passed, failed
       if (ignored) printf ", %d skipped", ignored
       print ""
     }' "$output"
exit "$status"
