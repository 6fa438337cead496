#!/usr/bin/env bash
# The page in a real browser, against the release build: web/tests. Arguments go to Playwright.
# SPANGLASS_BIN=PATH tries another binary, SPANGLASS_TEST_CHROMIUM another Chromium, SPANGLASS_TEST_DIST=FOLDER another
# build of the page than the one in the binary.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

binary=${SPANGLASS_BIN:-}
if [[ -z $binary ]]; then
  step "release build" cargo build --locked --release
  binary=${CARGO_TARGET_DIR:-target}/release/spanglass
fi
SPANGLASS_BIN=$(realpath "$binary")
SPANGLASS_TEST_CHROMIUM=${SPANGLASS_TEST_CHROMIUM:-$(command -v chromium || true)}
[[ -x $SPANGLASS_TEST_CHROMIUM ]] || die "no chromium on PATH: scripts/tools.sh installs it"
[[ -z ${SPANGLASS_TEST_DIST:-} ]] || SPANGLASS_TEST_DIST=$(realpath "$SPANGLASS_TEST_DIST")
PATH=$(scripts/node.sh):$PATH
export PATH SPANGLASS_BIN SPANGLASS_TEST_CHROMIUM SPANGLASS_TEST_DIST

cd web
export CI=${CI:-1}
node node_modules/@playwright/test/cli.js test "$@"
