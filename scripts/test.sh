#!/usr/bin/env bash
# Sets up what the tests need and runs all of them; exits non-zero on any failure.
#
#   scripts/test.sh                  everything: format, lints, tests on both databases, browser tests
#   scripts/test.sh password_reset   daily work: only the Rust tests that match; arguments go to `cargo nextest run`
#
# Needs Rust. On Debian everything else that is missing is installed (as root, or through sudo).
# Exports VESTIBULE_TEST_POSTGRES: the administrator's URL of a throw-away PostgreSQL, from which a test makes its own database.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

filtered=no
if [ "$#" -gt 0 ]; then filtered=yes; fi
cluster=""
timings=()
phase_name=""
phase_start=$SECONDS

say() { printf '== %s\n' "$*"; }

end_phase() {
    if [ -n "$phase_name" ]; then
        say "$phase_name: $((SECONDS - phase_start)) s"
        timings+=("$phase_name $((SECONDS - phase_start)) s")
    fi
    phase_name=""
}

phase() {
    end_phase
    phase_name=$1
    phase_start=$SECONDS
    say "$1"
}

fail() {
    printf 'test.sh: %s\n' "$*" >&2
    exit 1
}

as_root() {
    if [ "$(id -u)" -eq 0 ]; then
        "$@"
    elif command -v sudo >/dev/null && sudo -n true 2>/dev/null; then
        sudo "$@"
    else
        fail "not root and no sudo; please run: $*"
    fi
}

# PostgreSQL refuses to run as root.
as_postgres() {
    if [ "$(id -u)" -eq 0 ]; then
        (cd / && runuser -u postgres -- "$@")
    else
        "$@"
    fi
}

postgres_bin() {
    local newest="" dir
    for dir in /usr/lib/postgresql/*/bin; do
        if [ -x "$dir/initdb" ]; then newest=$dir; fi
    done
    if [ -z "$newest" ] && command -v initdb >/dev/null; then newest=$(dirname "$(command -v initdb)"); fi
    printf '%s' "$newest"
}

install_missing() {
    local packages=()
    if [ -z "$(postgres_bin)" ]; then packages+=(postgresql); fi
    command -v gcc >/dev/null || packages+=(gcc libc6-dev)
    command -v curl >/dev/null || packages+=(curl)
    # Tests start these themselves, on loopback and without leaving anything behind.
    command -v nats-server >/dev/null || packages+=(nats-server)
    command -v redis-server >/dev/null || packages+=(redis-server)
    if [ "$filtered" = no ]; then
        [ -x "$CHROMIUM" ] || packages+=(chromium)
        [ -x "$NGINX" ] || packages+=(nginx-light)
        [ -e /etc/ssl/certs/ca-certificates.crt ] || packages+=(ca-certificates)
        command -v node >/dev/null || packages+=(nodejs)
        command -v npm >/dev/null || packages+=(npm)
        python3 -c 'import ensurepip, venv' 2>/dev/null || packages+=(python3-venv)
    fi
    if [ "${#packages[@]}" -gt 0 ]; then
        command -v apt-get >/dev/null || fail "please install: ${packages[*]}"
        say "installing ${packages[*]}"
        as_root apt-get update -qq
        as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${packages[@]}"
    fi
    if ! cargo nextest --version >/dev/null 2>&1; then
        say "installing cargo-nextest"
        cargo install --locked cargo-nextest || fail "cargo-nextest could not be installed; the tests cannot run"
    fi
    if [ "$filtered" = no ]; then
        (cd e2e && PLAYWRIGHT_SKIP_BROWSER_DOWNLOAD=1 npm ci --no-audit --no-fund)
        (cd examples/storefront && npm ci --no-audit --no-fund)
        # With what a receiver in Python checks webhooks.
        [ -x target/standardwebhooks/bin/python ] || python3 -m venv target/standardwebhooks
        target/standardwebhooks/bin/pip install --quiet --disable-pip-version-check standardwebhooks==1.1.0
    fi
}

# One cluster for the whole run, without durability: it is thrown away.
start_postgres() {
    local bin port try
    bin=$(postgres_bin)
    [ -n "$bin" ] || fail "no PostgreSQL server programs found"
    cluster=$(mktemp -d /tmp/vestibule-test.XXXXXXXX)
    if [ "$(id -u)" -eq 0 ]; then chown postgres: "$cluster"; fi
    if ! as_postgres "$bin/initdb" -D "$cluster/data" -U postgres --auth=trust -E UTF8 --locale=C --no-sync >"$cluster/initdb.log" 2>&1; then
        cat "$cluster/initdb.log" >&2
        fail "initdb failed"
    fi
    # It keeps its log: a test searches what was written to it, and other tests' checkpoints would take that away meanwhile.
    # The port is free if the server can take it. The range lies below the one that the kernel hands out.
    for try in 1 2 3 4 5 6 7 8 9 10; do
        port=$((20000 + RANDOM % 12000))
        if as_postgres "$bin/pg_ctl" -D "$cluster/data" -l "$cluster/data/server.log" -w -t 60 -s -o "-p $port \
            -c listen_addresses=127.0.0.1 -c unix_socket_directories='' \
            -c fsync=off -c full_page_writes=off -c synchronous_commit=off -c max_connections=300 -c wal_keep_size=1GB" start; then
            export VESTIBULE_TEST_POSTGRES="postgres://postgres@127.0.0.1:$port/postgres"
            say "PostgreSQL at $VESTIBULE_TEST_POSTGRES"
            return
        fi
        say "PostgreSQL did not start on port $port (try $try)"
    done
    cat "$cluster/data/server.log" >&2
    fail "PostgreSQL did not start"
}

# Stops and removes only what start_postgres made.
clean_up() {
    local status=$?
    trap - EXIT
    if [ -n "$cluster" ]; then
        if [ -e "$cluster/data/postmaster.pid" ]; then
            as_postgres "$(postgres_bin)/pg_ctl" -D "$cluster/data" -m immediate -w -t 30 -s stop || true
        fi
        rm -rf "$cluster"
    fi
    if [ "$status" -ne 0 ]; then say "FAILED${phase_name:+ in: $phase_name} (exit $status)"; fi
    exit "$status"
}

summary() {
    end_phase
    local line
    for line in "${timings[@]}"; do printf '   %s\n' "$line"; done
    say "all passed in $SECONDS s"
}

browser_tests() {
    local target
    target=$(cargo metadata --format-version 1 --no-deps | sed -n 's/.*"target_directory":"\([^"]*\)".*/\1/p')
    export VESTIBULE_BIN="${target:-$PWD/target}/debug/vestibule"
    [ -x "$VESTIBULE_BIN" ] || fail "$VESTIBULE_BIN was not built"
    node --test e2e/*.test.mjs
}

# Settings of the caller's own PostgreSQL must not reach ours.
unset PGDATA PGHOST PGHOSTADDR PGPORT PGUSER PGPASSWORD PGDATABASE PGOPTIONS PGSERVICE
export CHROMIUM="${CHROMIUM:-/usr/bin/chromium}" NGINX="${NGINX:-/usr/sbin/nginx}"
export CARGO_TERM_COLOR="${CARGO_TERM_COLOR:-never}"
if ! command -v cargo >/dev/null && [ -x "$HOME/.cargo/bin/cargo" ]; then PATH="$HOME/.cargo/bin:$PATH"; fi
command -v cargo >/dev/null || fail "cargo is missing: install Rust first"

trap clean_up EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM

phase "set-up"
install_missing
start_postgres

threads=$(($(nproc) * 2))
if [ "$filtered" = yes ]; then
    phase "tests matching: $*"
    cargo nextest run --workspace --all-features --test-threads "$threads" "$@"
    summary
    say "format, lints and browser tests (e2e) were skipped: run scripts/test.sh without arguments for them"
    exit 0
fi

phase "format"
cargo fmt --all --check
phase "lints"
cargo clippy --workspace --all-targets --all-features -- -D warnings
phase "tests"
cargo nextest run --workspace --all-features --test-threads "$threads"
phase "build"
cargo build -p vestibule
phase "browser tests"
browser_tests
summary
