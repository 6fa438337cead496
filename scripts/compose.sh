#!/usr/bin/env bash
# Builds the reader of compose files that tests use (tests/tools/compose: the library that Docker Compose reads
# with, without a daemon), or finds it in the cache, and prints its path.
# Needs Go. SPANGLASS_TEST_COMPOSE=PATH uses that binary instead.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

if [[ -n ${SPANGLASS_TEST_COMPOSE:-} ]]; then
  [[ -x $SPANGLASS_TEST_COMPOSE ]] || die "SPANGLASS_TEST_COMPOSE is not a program: $SPANGLASS_TEST_COMPOSE"
  echo "$SPANGLASS_TEST_COMPOSE"
  exit 0
fi

key=$({ uname -sm; cat tests/tools/compose/*; } | sha256sum | cut -c1-16)
binary=$cache_dir/compose-$key
if [[ -x $binary ]]; then
  say "compose reader from the cache: $binary"
  echo "$binary"
  exit 0
fi

command -v go >/dev/null || die "no go on PATH: install Go, or set SPANGLASS_TEST_COMPOSE"

# Below the cache folder, so that the last step is a rename within one file system.
mkdir -p "$cache_dir"
work=$(mktemp -d "$cache_dir/build.XXXXXX")
trap 'rm -rf "$work"' EXIT

CGO_ENABLED=0 retry go build -C tests/tools/compose -trimpath -ldflags='-s -w' -o "$work/compose" . >&2
printf 'services: {a: {image: "b:1"}}\n' >"$work/compose.yaml"
"$work/compose" "$work/compose.yaml" >/dev/null || die "the reader of compose files does not work"
mv "$work/compose" "$binary"
echo "$binary"
