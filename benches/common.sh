# shellcheck shell=bash
# What the benchmarks of this folder share, beside ci/common.sh, which this sources: building benches/peers, starting a
# server of it, two cores for all, and the line above a table. Sourced, never run:
#
#     . "$(dirname "${BASH_SOURCE[0]}")/common.sh"
#
# Built into benches/peers/target and target/, or CARGO_TARGET_DIR.
# shellcheck disable=SC2154 # rounds, seconds and servers are the options of the script that sources this
# shellcheck source=ci/common.sh
. "$(dirname "${BASH_SOURCE[0]}")/../ci/common.sh"

PEERS=${CARGO_TARGET_DIR:-$ROOT/benches/peers/target}
case $PEERS in /*) ;; *) PEERS=$ROOT/$PEERS ;; esac

progress() { say "$*" >&2; }

build() {
  progress "building"
  cargo build --quiet --release --locked -p completion-port-harness --bins
  CARGO_TARGET_DIR=$PEERS cargo build --quiet --release --locked --manifest-path benches/peers/Cargo.toml
  build_native asio asio.hpp libasio-dev
  build_native libuv uv.h libuv1-dev
}

# build_native PROGRAM HEADER PACKAGE: builds a peer in C or C++ beside the others. What it lacks is installed, as root on
# Debian. It is left out by name where it cannot be had.
build_native() {
  local include="#include <$2>"
  has() { g++ -E -std=c++17 -DASIO_STANDALONE -x c++ - <<<"$include" >/dev/null 2>&1; }
  if ! has && [[ $(id -u) == 0 ]] && command -v apt-get >/dev/null; then
    progress "installing g++, make and $3"
    { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends g++ make "$3"; } \
      >&2 || true
  fi
  if ! make --no-print-directory -s -C benches/peers/native OUT="$PEERS/release" "$PEERS/release/$1" >&2; then
    rm -f "$PEERS/release/$1"
    note "SKIPPED: $1 cannot be built here; it wants g++, make and $3" >&2
  fi
}

# two_cores: from now on all runs on the first two cores that this script may use, as on the machines whose figures are
# known. Sets cores, and load: what else the machine does spoils the figures. Called after the builds, which count
# themselves.
two_cores() {
  cores=$(python3 -c 'import os; print(*sorted(os.sched_getaffinity(0))[:2], sep=",")')
  [[ $cores == *,* ]] || note "only one core: the figures do not compare with those of two" >&2
  taskset -cp "$cores" $$ >&2
  read -r load _ </proc/loadavg
}

# conditions TEXT: where and how this was measured.
conditions() {
  local load_after
  read -r load_after _ </proc/loadavg
  printf '%s, Linux %s, cores %s, %s; commit %s; load average of the minute before %s, of the last one %s.\n' \
    "$(date -u +%F)" "$(uname -r)" "$cores" "$1" "$(git describe --always --dirty --abbrev=12)" "$load" "$load_after"
}

# start_peer SERVER [ARGUMENT]...: starts a server of benches/peers on a free port; `ours:DRIVER` is `ours` with that
# driver; `uring-variants:VARIANT` is that with that variant; `cport` and `cport:DRIVER` are `cport serve`, which gets none of the arguments. Sets SERVER_PID, SERVER_ADDRESS,
# SERVER_LINE, SERVER_OUT, SERVER_ERR. Fails if it does not start.
start_peer() {
  local program=${1%%:*} environment=(-u COMPLETION_PORT_DRIVER)
  [[ $1 != *:* ]] || environment=("COMPLETION_PORT_DRIVER=${1#*:}" "VARIANT=${1#*:}")
  SERVER_OUT=$WORK/server.out
  SERVER_ERR=$WORK/server.err
  : >"$SERVER_OUT"
  local command=("$PEERS/release/$program" 127.0.0.1:0 "${@:2}")
  [[ $program != cport ]] || command=("$RELEASE/cport" serve 127.0.0.1:0)
  env "${environment[@]}" "${command[@]}" >"$SERVER_OUT" 2>"$SERVER_ERR" </dev/null &
  SERVER_PID=$!
  SERVERS=("$SERVER_PID")
  wait_until 20 server_settled && server_listens || return 1
  SERVER_LINE=$(head -n 1 "$SERVER_OUT")
  # shellcheck disable=SC2034 # for those who source this
  SERVER_ADDRESS=$(sed -n '1s/^listening on \([^, ]*\).*/\1/p' "$SERVER_OUT")
}

# who_is_here SERVER...: sets PRESENT to those that start here, and SETTINGS to what each says of its own. Says which do not
# (io_uring is refused, say).
declare -A SETTINGS
who_is_here() {
  local server
  PRESENT=()
  for server; do
    if start_peer "$server"; then
      SETTINGS[$server]=${SERVER_LINE#*, }
      progress "$server: ${SETTINGS[$server]}"
      PRESENT+=("$server")
      stop_server
    else
      note "SKIPPED: $server does not start here: $(tail -n 1 "$SERVER_ERR")" >&2
    fi
  done
  ((${#PRESENT[@]} > 0)) || die "no server starts"
}

# ---- runs. The script that sources this sets rounds, seconds and servers.

# rounds_of COMMAND [ARGUMENT]...: `COMMAND SERVER ROUND ARGUMENT...` for each of `servers` in each of `rounds`. Each round
# begins with another server, so that a slow minute of the machine hits all.
rounds_of() {
  local round turn
  for ((round = 0; round < rounds; round++)); do
    for ((turn = 0; turn < ${#servers[@]}; turn++)); do
      "$1" "${servers[(round + turn) % ${#servers[@]}]}" "$round" "${@:2}"
    done
  done
}

# one_core_each: from now on whoever is started here is on the first of the two cores, and the load of measure_echo on the
# other.
one_core_each() {
  [[ $cores == *,* ]] || die "the server wants a core, and the load another"
  LOAD_CORES=${cores#*,}
  taskset -cp "${cores%,*}" $$ >&2
}

# both_cores: from now on they share both.
both_cores() {
  LOAD_CORES=$cores
  taskset -cp "$cores" $$ >&2
}

# measure_echo SERVER ROUND [ARGUMENT]...: one run. The server has SERVER_ARGUMENTS, the load these and `seconds`. The load is
# `ping` of crates/harness, every byte checked. Adds a line for tables.py to FIGURES.
SERVER_ARGUMENTS=()
measure_echo() {
  local line
  start_peer "$1" "${SERVER_ARGUMENTS[@]}" || { show_server && die "$1 does not start"; }
  line=$(taskset -c "$LOAD_CORES" "$RELEASE/ping" "$SERVER_ADDRESS" --seconds "$seconds" --server-pid "$SERVER_PID" \
    "${@:3}") || { show_server && die "ping ${*:3} fails on $1"; }
  stop_server
  progress "$1: ${line##*ping: }"
  printf 'round=%s server=%s %s\n' "$2" "$1" "${line##*ping: }" >>"$FIGURES"
}

# decimal NAME LINE: the value of NAME= in a line of figures, with its decimals.
decimal() { sed -n "s/.*\\b$1=\\([0-9.]*\\).*/\\1/p" <<<"$2"; }

# middle: the median of the numbers on the standard input.
middle() {
  sort -g | awk '{ v[NR] = $1 } END { print NR % 2 ? v[(NR + 1) / 2] : (v[NR / 2] + v[NR / 2 + 1]) / 2 }'
}
