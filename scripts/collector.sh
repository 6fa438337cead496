#!/usr/bin/env bash
# Builds the collector of otel-collector/builder.yaml, or finds it in the cache, and prints its path.
# Needs Go. SPANGLASS_TEST_OTELCOL=PATH uses that binary instead.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

builder_version=v0.145.0

if [[ -n ${SPANGLASS_TEST_OTELCOL:-} ]]; then
  [[ -x $SPANGLASS_TEST_OTELCOL ]] || die "SPANGLASS_TEST_OTELCOL is not a program: $SPANGLASS_TEST_OTELCOL"
  echo "$SPANGLASS_TEST_OTELCOL"
  exit 0
fi

manifest=$PWD/otel-collector/builder.yaml
key=$({ echo "$builder_version"; uname -sm; cat "$manifest"; } | sha256sum | cut -c1-16)
binary=$cache_dir/otelcol-$key
if [[ -x $binary ]] && "$binary" --version >/dev/null 2>&1; then
  say "collector from the cache: $binary"
  echo "$binary"
  exit 0
fi

command -v go >/dev/null || die "no go on PATH: install Go, or set SPANGLASS_TEST_OTELCOL to a collector"

# Below the cache folder, so that the last step is a rename within one file system.
mkdir -p "$cache_dir"
work=$(mktemp -d "$cache_dir/build.XXXXXX")
trap 'rm -rf "$work"' EXIT

GOBIN=$work retry go install "go.opentelemetry.io/collector/cmd/builder@$builder_version" >&2
sed "s|^dist:|dist:\n  output_path: $work/out|" "$manifest" >"$work/builder.yaml"
# Without cgo the binary runs on every Linux; -s -w (the builder's default) keeps it small.
CGO_ENABLED=0 retry "$work/builder" --config "$work/builder.yaml" >&2
"$work/out/otelcol-spanglass" --version >&2
mv "$work/out/otelcol-spanglass" "$binary"
echo "$binary"
