#!/usr/bin/env bash
# Installs the grammars of tests/tools/grammars (PromQL, LogQL, TraceQL as Grafana's editors parse them), or finds them
# in the cache, and prints their folder. Needs npm. SPANGLASS_TEST_GRAMMARS=FOLDER uses that folder instead.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

if [[ -n ${SPANGLASS_TEST_GRAMMARS:-} ]]; then
  [[ -d $SPANGLASS_TEST_GRAMMARS/node_modules ]] || die "no node_modules in SPANGLASS_TEST_GRAMMARS: $SPANGLASS_TEST_GRAMMARS"
  echo "$SPANGLASS_TEST_GRAMMARS"
  exit 0
fi

source=tests/tools/grammars
key=$(cat "$source/package.json" "$source/package-lock.json" | sha256sum | cut -c1-16)
folder=$cache_dir/grammars-$key
if [[ -e $folder/complete ]]; then
  echo "$folder"
  exit 0
fi

command -v npm >/dev/null || die "no npm on PATH: install it, or set SPANGLASS_TEST_GRAMMARS to a folder with the packages"
rm -rf "$folder"
mkdir -p "$folder"
cp "$source/package.json" "$source/package-lock.json" "$folder"
retry npm --prefix "$folder" ci --ignore-scripts --no-audit --no-fund >&2
touch "$folder/complete"
echo "$folder"
