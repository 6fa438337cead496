#!/usr/bin/env bash
# Builds the reader of compose files that tests use (compose-go's own command: schema, interpolation and
# consistency, without a daemon), or finds it in the cache, and prints its path.
# Needs Go. SPANGLASS_TEST_COMPOSE=PATH uses that binary instead.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

version=v2.16.2

if [[ -n ${SPANGLASS_TEST_COMPOSE:-} ]]; then
  [[ -x $SPANGLASS_TEST_COMPOSE ]] || die "SPANGLASS_TEST_COMPOSE is not a program: $SPANGLASS_TEST_COMPOSE"
  echo "$SPANGLASS_TEST_COMPOSE"
  exit 0
fi

binary=$cache_dir/compose-$version-$(uname -m)
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

# Go names the program after its folder: cmd.
CGO_ENABLED=0 GOBIN=$work retry go install "github.com/compose-spec/compose-go/v2/cmd@$version" >&2
printf 'services: {a: {image: "b:1"}}\n' >"$work/compose.yaml"
"$work/cmd" "$work/compose.yaml" >/dev/null 2>&1 || die "the reader of compose files does not work"
mv "$work/cmd" "$binary"
echo "$binary"
