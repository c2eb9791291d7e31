#!/usr/bin/env bash
# Sends generated requests to every route that openapi.json describes: no 5xx, no answer that is not documented.
#
#   scripts/schemathesis.sh        at most 10 generated examples per route in each phase: some 2500 requests, two or three minutes
#   scripts/schemathesis.sh 300    that many: some 10 000 requests
#
# Needs Rust and Python. On Debian everything else that is missing is installed (as root, or through sudo).
# What is asked of the answers stands in scripts/schemathesis.toml, with the reason for each check that is off.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
examples="${1:-10}"
tools=target/schemathesis
folder=""
server=""
program=""

fail() {
    printf 'schemathesis.sh: %s\n' "$*" >&2
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

install_missing() {
    local packages=()
    python3 -c 'import ensurepip, venv' 2>/dev/null || packages+=(python3-venv)
    command -v curl >/dev/null || packages+=(curl)
    if [ "${#packages[@]}" -gt 0 ]; then
        command -v apt-get >/dev/null || fail "please install: ${packages[*]}"
        as_root apt-get update -qq
        as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${packages[@]}"
    fi
    [ -x "$tools/bin/python" ] || python3 -m venv "$tools"
    "$tools/bin/pip" install --quiet --disable-pip-version-check schemathesis==4.32.5 openapi-spec-validator==0.9.0
}

# Stops and removes only what this script started and made.
clean_up() {
    local status=$?
    trap - EXIT
    if [ -n "$server" ]; then
        kill "$server" 2>/dev/null || true
        wait "$server" 2>/dev/null || true
    fi
    if [ -n "$folder" ]; then rm -rf "$folder"; fi
    exit "$status"
}

# A store without budgets, on a free port. Its address goes to BASE.
start_server() {
    local target try
    cargo build --quiet -p vestibule
    target=$(cargo metadata --format-version 1 --no-deps | sed -n 's/.*"target_directory":"\([^"]*\)".*/\1/p')
    cat >"$folder/vestibule.toml" <<TOML
[server]
listen = "127.0.0.1:0"
default_tenant = "acme"
[database]
url = "sqlite://$folder/vestibule.db"
[[tenants]]
slug = "acme"
publishable_keys = ["$KEY"]
[tenants.limits]
enabled = false
TOML
    chmod 600 "$folder/vestibule.toml"
    program="${target:-target}/debug/vestibule"
    VESTIBULE_LOG=vestibule=info,error "$program" serve --config "$folder/vestibule.toml" 2>"$folder/server.log" &
    server=$!
    for ((try = 0; try < 200; try++)); do
        BASE=$(sed -n 's/^vestibule: listening on //p' "$folder/server.log")
        if [ -n "$BASE" ]; then return; fi
        kill -0 "$server" 2>/dev/null || break
        sleep 0.1
    done
    cat "$folder/server.log" >&2
    fail "the server did not start"
}

post() {
    curl --silent --show-error --fail --header "Content-Type: application/json" --header "x-publishable-api-key: $KEY" "${@:2}" "$BASE$1"
}

# The customer whose token the requests carry, and a key of the staff.
sign_up() {
    local credentials="{\"email\": \"customer@gmail.com\", \"password\": \"$PASSWORD\"}"
    TOKEN=$(post /auth/customer/emailpass/register --data "$credentials" | sed 's/.*"token":"\([^"]*\)".*/\1/')
    post /store/customers --header "Authorization: Bearer $TOKEN" --data '{"email": "customer@gmail.com"}' >/dev/null
    STAFF_KEY=$("$program" key create --config "$folder/vestibule.toml" --tenant acme --type secret --title schemathesis | grep -o 'sk_[0-9a-f]*')
}

trap clean_up EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM

install_missing
"$tools/bin/openapi-spec-validator" --schema 3.1 openapi.json
folder=$(mktemp -d /tmp/vestibule-schemathesis.XXXXXXXX)
export KEY="pk_$(printf '0%.0s' {1..64})" PASSWORD=seven-brown-Lamps-9 TOKEN="" STAFF_KEY="" BASE=""
start_server
sign_up
status=0
root=$PWD
# It keeps what it did beside where it is called: in the folder that is thrown away.
(cd "$folder" && "$root/$tools/bin/schemathesis" --config-file "$root/scripts/schemathesis.toml" --no-color run "$root/openapi.json" --url "$BASE" \
    --max-examples "$examples" --workers 2 --seed "${SEED:-1}") || status=$?
# What the server says of a failure of its own.
grep -E ' ERROR |panicked' "$folder/server.log" | head -n 20 >&2 || true
exit "$status"
