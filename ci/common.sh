# shellcheck shell=bash
# What the scripts of this folder share: where things are, starting and stopping the server under test, and cleaning
# up. Sourced, never run:
#
#     . "$(dirname "${BASH_SOURCE[0]}")/common.sh"
#
# Afterwards the current folder is the root of the repository, and on exit every process that was started with
# start_server is ended and WORK, a temporary folder, is removed.
#
# Read from the environment:
#   CARGO_TARGET_DIR  as cargo does; default target/
#   CPORT             the command under test; default: built here, release
#   TOOLS             where downloaded tools are kept; default .tools/, which git ignores
#   CI_NOTES          a file to which what was left out is added, for a summary; default none

set -euo pipefail

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$ROOT"
TARGET=${CARGO_TARGET_DIR:-$ROOT/target}
case $TARGET in /*) ;; *) TARGET=$ROOT/$TARGET ;; esac
TOOLS=${TOOLS:-$ROOT/.tools}
RELEASE=$TARGET/release
CPORT=${CPORT:-$RELEASE/cport}
WORK=$(mktemp -d)
SERVERS=()

# Every driver of this platform, best first: the rungs of io_uring's ladder, and readiness.
# shellcheck disable=SC2034 # for those who source this
DRIVERS=(io_uring:buffer-ring io_uring:coop io_uring:basic readiness)
# For who says so, the rungs between the first and the last are left out: they differ from the first in little.
[[ ${CI_RUNGS:-} != ends ]] || DRIVERS=(io_uring:buffer-ring readiness)

say() { printf '%s: %s\n' "${0##*/}" "$*"; }

# note TEXT: something was left out, which a reader of the summary must know.
note() {
  say "$*"
  say "$*" >>"${CI_NOTES:-/dev/null}"
}

die() {
  printf '%s: %s\n' "${0##*/}" "$*" >&2
  exit 1
}

# Commands that cleanup runs, once the servers have ended.
AT_EXIT=()
# What runs side by side.
JOBS=()

# beside COMMAND...: starts it beside what follows, and `join_in` waits for it. It ends with the script, whatever it has started.
beside() {
  set -m
  "$@" &
  JOBS+=("$!")
  set +m
}

# Waits for what was started `beside`. Fails if one of them does.
join_in() {
  local job status=0
  for job in "${JOBS[@]}"; do wait "$job" || status=$?; done
  JOBS=()
  return "$status"
}

cleanup() {
  local status=$? pid command
  for pid in "${JOBS[@]}"; do
    # What runs `beside` is a group of its own.
    kill -TERM -- "-$pid" 2>/dev/null || kill -TERM "$pid" 2>/dev/null || true
  done
  for pid in "${SERVERS[@]}"; do
    kill -KILL "$pid" 2>/dev/null || true
  done
  for command in "${AT_EXIT[@]}"; do
    "$command" || true
  done
  rm -rf "$WORK"
  exit "$status"
}
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# Builds the command and the programs of the harness, optimised. Quick if they are built.
build_programs() {
  cargo build --quiet --release --locked --workspace --bins
}

# use_toolchain_web: from here on Rust is what ci/toolchain-web has put in $TOOLS. rustup's proxies are passed by: call cargo
# as "${WEB_CARGO[@]}" and clippy as "${WEB_CLIPPY[@]}".
use_toolchain_web() {
  local usr=$TOOLS/web/usr
  export PATH=$usr/bin:$PATH LD_LIBRARY_PATH=$usr/lib/x86_64-linux-gnu
  # What is unstable in it is used to build its own standard library.
  export RUSTC=$usr/bin/rustc RUSTDOC=$usr/bin/rustdoc RUSTC_BOOTSTRAP=1
  unset RUSTUP_TOOLCHAIN
  # shellcheck disable=SC2034 # for those who source this
  WEB_CARGO=("$usr/bin/cargo")
  # shellcheck disable=SC2034 # and this
  WEB_CLIPPY=("$usr/bin/cargo-clippy" clippy)
}

# use_wine: from here on `wine` runs in the prefix of ci/toolchain-windows, and cargo links and runs programs for Windows. One
# server for all, which stop_wine ends, with whatever still runs in it.
use_wine() {
  export WINEPREFIX=$TOOLS/wine WINEARCH=win64 WINEDEBUG=-all
  unset DISPLAY WAYLAND_DISPLAY
  export CARGO_TARGET_X86_64_PC_WINDOWS_GNU_LINKER=x86_64-w64-mingw32-gcc
  # Each program is bounded: one that hangs must not take the whole run with it.
  export CARGO_TARGET_X86_64_PC_WINDOWS_GNU_RUNNER="timeout --verbose --kill-after=5 ${WINE_SECONDS:-240} wine"
}

stop_wine() {
  local server
  for server in wineserver wineserver-stable /usr/lib/wine/wineserver; do
    ! command -v "$server" >/dev/null || break
  done
  timeout 30 "$server" --kill 2>/dev/null || true
}

# wait_until SECONDS COMMAND...: asks again and again until the command succeeds.
wait_until() {
  local end=$((SECONDS + $1))
  shift
  until "$@"; do
    ((SECONDS < end)) || return 1
    sleep 0.05
  done
}

# start_server DRIVER [ARGUMENT]...: starts `cport serve` on a free port with that driver and waits until it listens.
# DRIVER may be `auto`. Sets SERVER_PID, SERVER_ADDRESS, SERVER_PORT, SERVER_LINE (its first line), SERVER_OUT and
# SERVER_ERR (files). A server that has another driver than it was told to is an error.
start_server() {
  local driver=$1
  shift
  SERVER_OUT=$WORK/server.$RANDOM.out
  SERVER_ERR=${SERVER_OUT%.out}.err
  : >"$SERVER_OUT"
  local environment=()
  [[ $driver == auto ]] || environment=("COMPLETION_PORT_DRIVER=$driver")
  env "${environment[@]}" "${SERVER_WRAPPER[@]}" "$CPORT" serve --listen 127.0.0.1:0 "$@" \
    >"$SERVER_OUT" 2>"$SERVER_ERR" </dev/null &
  SERVER_PID=$!
  SERVERS+=("$SERVER_PID")
  if ! wait_until 20 server_settled || ! server_listens; then
    show_server
    die "the server does not start with driver $driver"
  fi
  SERVER_LINE=$(head -n 1 "$SERVER_OUT")
  SERVER_ADDRESS=$(sed -n '1s/^listening on \([^, ]*\).*/\1/p' "$SERVER_OUT")
  # shellcheck disable=SC2034 # for those who source this
  SERVER_PORT=${SERVER_ADDRESS##*:}
  case "$driver $SERVER_LINE" in
  "auto "* | *" "*"driver $driver"*) ;;
  *) die "asked for driver $driver, the server says: $SERVER_LINE" ;;
  esac
}
# A command that start_server puts before the server, such as deny-io-uring.
SERVER_WRAPPER=()

server_listens() { grep -q '^listening on ' "$SERVER_OUT"; }

server_runs() { kill -0 "$SERVER_PID" 2>/dev/null; }

server_settled() { server_listens || ! server_runs; }

show_server() {
  printf -- '-- the server wrote:\n' >&2
  tail -n 40 "$SERVER_OUT" "$SERVER_ERR" >&2 || true
  printf -- '--\n' >&2
}

# stop_server: SIGTERM to the server; it must end by itself, with exit code 0.
stop_server() { stop_server_by TERM; }

# stop_server_by SIGNAL: the same by that one.
stop_server_by() {
  local status=0 signal=$1
  kill "-$signal" "$SERVER_PID"
  if ! wait_until 30 server_ended; then
    show_server
    die "the server does not end after SIG$signal"
  fi
  wait "$SERVER_PID" || status=$?
  SERVERS=()
  if ((status != 0)); then
    show_server
    die "the server ended with exit code $status"
  fi
}

# A child that has ended may stay as a zombie until it is waited for.
server_ended() {
  ! server_runs || [[ $(sed -n 's/^State:[[:space:]]*\(.\).*/\1/p' "/proc/$SERVER_PID/status" 2>/dev/null) != [A-Y]* ]]
}

# available DRIVER: whether this machine has it, by the word of `cport doctor`. Says so if not.
available() {
  local reason status=0
  reason=$("$CPORT" doctor --json | python3 "$ROOT/ci/doctor_says.py" "$1") || status=$?
  case $status in
  0) return 0 ;;
  1) note "SKIPPED: driver $1 is not to be had here: $reason" && return 1 ;;
  *) die "cport doctor --json: $reason" ;;
  esac
}

# on_each_driver COMMAND: the command with the name of each driver that this machine has, side by side: for what waits most
# of its time. Each has a WORK and servers of its own, and what it prints comes when it has ended. Dies if one fails.
on_each_driver() {
  local driver present_drivers=() failed=() at
  for driver in "${DRIVERS[@]}"; do
    available "$driver" || continue
    present_drivers+=("$driver")
    in_a_job "$1" "$driver" >"$WORK/job.${#JOBS[@]}" 2>&1 &
    JOBS+=("$!")
  done
  for at in "${!JOBS[@]}"; do
    wait "${JOBS[$at]}" || failed+=("${present_drivers[$at]}")
    cat "$WORK/job.$at"
  done
  JOBS=()
  ((${#failed[@]} == 0)) || die "failed on ${failed[*]}"
}

in_a_job() {
  WORK=$(mktemp -d)
  SERVERS=() JOBS=() AT_EXIT=()
  trap cleanup EXIT
  trap 'exit 143' TERM
  "$@"
}

# figure NAME LINE: the value of NAME= in a line of figures.
figure() { sed -n "s/.*\\b$1=\\([0-9]*\\).*/\\1/p" <<<"$2"; }
