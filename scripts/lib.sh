# Sourced by the other scripts, which it moves to the root of the repository. Announces steps with their
# time; retries what depends on a network.
# shellcheck shell=bash

cd "$(dirname "${BASH_SOURCE[0]}")/.."

# Whatever lies here may vanish at any time: it costs minutes to make again, nothing else.
cache_dir="${XDG_CACHE_HOME:-$HOME/.cache}/spanglass-ci"

say() { printf '%s\n' "$*" >&2; }

die() {
  say "error: $*"
  exit 1
}

# step NAME COMMAND…: runs it, says how long it took, fails as it failed. COMMAND is a program, not a
# function: bash forgets `set -e` inside a function whose status somebody looks at.
step() {
  local name=$1 start=$SECONDS status=0
  shift
  say "==> $name"
  "$@" || status=$?
  if ((status == 0)); then
    say "<== $name: ok, $((SECONDS - start)) s"
  else
    say "<== $name: FAILED with $status, $((SECONDS - start)) s"
  fi
  return "$status"
}

# retry COMMAND…: up to four times, with pauses of 3, 6 and 12 s.
retry() {
  local pause
  for pause in 3 6 12; do
    "$@" && return 0
    say "failed, again in $pause s: $*"
    sleep "$pause"
  done
  "$@"
}
