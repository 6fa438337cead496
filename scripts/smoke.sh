#!/usr/bin/env bash
# The demo of the release build against a real Prometheus and a real collector: tests/tools/smoke.py.
# SPANGLASS_BIN=PATH tries another binary, SPANGLASS_TEST_OTELCOL another collector.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

binary=${SPANGLASS_BIN:-}
if [[ -z $binary ]]; then
  step "release build" cargo build --locked --release
  binary=${CARGO_TARGET_DIR:-target}/release/spanglass
fi
collector=$(scripts/collector.sh)
python=${SPANGLASS_TEST_PYTHON:-$(scripts/python.sh)}
# A server of this machine must not be asked through a proxy.
NO_PROXY=127.0.0.1 no_proxy=127.0.0.1 PYTHONDONTWRITEBYTECODE=1 "$python" tests/tools/smoke.py "$binary" "$collector"
