#!/usr/bin/env bash
# Writes dashboards/*.json and dashboards/queries.jsonl from dashboards/generator. A test compares: nobody edits them by
# hand. Needs python3 and nothing else. FOLDER as argument writes there.
set -euo pipefail
folder=$(realpath "${1:-$(dirname "${BASH_SOURCE[0]}")/../dashboards}")
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

PYTHONDONTWRITEBYTECODE=1 python3 dashboards/generator "$folder"
