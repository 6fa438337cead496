#!/usr/bin/env bash
# Installs the packages of web/ and prints the folder of the Node they run on, to be put in front of PATH: the
# system's, or, where that is older than Vite wants (Debian 12 has 18), one from npm that is kept in the cache.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

# `engines` in web/package.json.
recent() { "$1" -e 'const [a, b] = process.versions.node.split(".").map(Number); process.exit(a > 20 || (a === 20 && b >= 19) ? 0 : 1)'; }

system=$(command -v node || true)
[[ -n $system ]] || die "no node on PATH: scripts/tools.sh installs it"
if recent "$system"; then
  folder=$(dirname "$system")
else
  source=tests/tools/node
  key=$({ uname -sm; cat "$source/package.json" "$source/package-lock.json"; } | sha256sum | cut -c1-16)
  cached=$cache_dir/node-$key
  folder=$cached/node_modules/.bin
  if [[ ! -e $cached/complete ]]; then
    rm -rf "$cached"
    mkdir -p "$cached"
    cp "$source/package.json" "$source/package-lock.json" "$cached"
    retry npm --prefix "$cached" ci --ignore-scripts --no-audit --no-fund >&2
    # npm 9 does not link the program of a package for one system only.
    ln -sf "$(cd "$cached" && echo node_modules/node-linux-*/bin/node | sed 's|^node_modules|..|')" "$folder/node"
    recent "$folder/node" || die "the node from npm does not run here"
    touch "$cached/complete"
  fi
fi

# Once for each state of the lock file.
mark=web/node_modules/.complete
lock=$(sha256sum web/package-lock.json | cut -d' ' -f1)
if [[ $(cat "$mark" 2>/dev/null || true) != "$lock" ]]; then
  PATH=$folder:$PATH PLAYWRIGHT_SKIP_BROWSER_DOWNLOAD=1 retry npm --prefix web ci --ignore-scripts --no-audit --no-fund >&2
  echo "$lock" >"$mark"
fi
echo "$folder"
