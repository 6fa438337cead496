#!/bin/sh
# A worker in POSIX shell. Frames are a length (four bytes, the lowest first) and JSON; the host writes `t` first
# and `id` second, so that sed can tell them. Reading a text out of JSON safely needs more than that: a shell
# plugin does well to need no input.
set -u

# Reads one frame into $frame; fails at the end of the pipe. `dd bs=1` takes no byte too many.
receive() {
    length=$(dd bs=1 count=4 <&3 2>/dev/null | od -An -tu1 | awk 'NF == 4 { print $1 + $2 * 256 + $3 * 65536 + $4 * 16777216 }')
    [ -n "$length" ] || return 1
    frame=$(dd bs=1 count="$length" <&3 2>/dev/null)
}

# Header and body in one `printf`, so in one write. The length counts bytes, so no letter may have two.
send() {
    length=${#1}
    header=$(printf '\\0%03o\\0%03o\\0%03o\\0%03o' $((length % 256)) $((length / 256 % 256)) $((length / 65536 % 256)) 0)
    printf '%b%s' "$header" "$1" >&4
}

answer() {
    facts=$(df -Pk . | awk 'NR == 2 { printf "{\"filesystem\":\"%s\",\"size_kib\":%d,\"free_kib\":%d,\"used_percent\":%d}", $1, $2, $4, $5 }')
    if [ -n "$facts" ]; then
        send "{\"t\":\"end\",\"id\":$1,\"output\":$facts}"
    else
        send "{\"t\":\"error\",\"id\":$1,\"kind\":\"unavailable\",\"message\":\"df says nothing\"}"
    fi
}

LC_ALL=C
while receive; do
    case $frame in
        '{"t":"hello",'*) send '{"t":"ready","v":1,"language":"sh"}' ;;
        '{"t":"call",'*) answer "$(printf %s "$frame" | sed 's/^{"t":"call","id":\([0-9]*\),.*/\1/')" ;;
        '{"t":"shutdown",'*) exit 0 ;;
    esac
done
