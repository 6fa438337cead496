#!/usr/bin/env bash
# Makes the Python environment of scripts/requirements.txt, or finds it in the cache, and prints the path of
# its interpreter.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

requirements=$PWD/scripts/requirements.txt
# A symlink or a shim would keep its name after an upgrade.
interpreter=$(python3 -c 'import sys; print(sys.executable, sys.version)')
key=$({ echo "$interpreter"; cat "$requirements"; } | sha256sum | cut -c1-16)
folder=$cache_dir/python-$key
if [[ -e $folder/complete ]] && "$folder/bin/python" -c 'import prometheus_client, pytest, grafana_foundation_sdk, opentelemetry.instrumentation.sqlite3' 2>/dev/null; then
  echo "$folder/bin/python"
  exit 0
fi

rm -rf "$folder"
mkdir -p "$cache_dir"
python3 -m venv "$folder" >&2
pip=("$folder/bin/python" -m pip --disable-pip-version-check install --quiet --only-binary=:all: --require-hashes)
retry "${pip[@]}" -r "$requirements" >&2
touch "$folder/complete"
echo "$folder/bin/python"
