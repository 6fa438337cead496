#!/usr/bin/env bash
# Installs what tests and scripts use beside Rust and Go: Debian's packages, as root, only what is missing.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

packages=()
# need PROGRAM PACKAGE…
need() {
  if ! command -v "$1" >/dev/null; then
    packages+=("${@:2}")
  fi
}
need cc build-essential
# Without a font Chromium draws boxes.
need chromium chromium fonts-dejavu-core
need curl curl ca-certificates
need git git
need jq jq
need node nodejs
need npm npm
need promtool prometheus
need prometheus prometheus
need amtool prometheus-alertmanager
need prometheus-alertmanager prometheus-alertmanager
# python3 on PATH may be one of several; asking it beats looking at names. Debian's cannot make an
# environment without python3-venv.
python3 -c 'import ensurepip, venv' 2>/dev/null || packages+=(python3 python3-venv)

if ((${#packages[@]} == 0)); then
  say "nothing to install"
else
  command -v apt-get >/dev/null || die "no apt-get here; install by hand: ${packages[*]}"
  export DEBIAN_FRONTEND=noninteractive
  # RUNLEVEL keeps Debian from starting Prometheus and Alertmanager as services.
  export RUNLEVEL=1
  retry apt-get -qq update
  retry apt-get -qq install -y --no-install-recommends "${packages[@]}" </dev/null >&2
fi

for program in amtool cargo cc chromium curl git go jq node npm prometheus prometheus-alertmanager promtool python3; do
  command -v "$program" >/dev/null || die "$program is still missing"
done
say "$(cargo --version), $(go version | cut -d' ' -f3), $(python3 --version)," \
  "$(prometheus --version 2>&1 | head -n 1 | cut -d' ' -f1-3)"
