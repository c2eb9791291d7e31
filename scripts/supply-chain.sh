#!/usr/bin/env bash
# Checks licences, bans, sources and known advisories of the dependency tree against deny.toml.
#
#   scripts/supply-chain.sh              installs cargo-deny if it is missing (some minutes)
#
# Exit 0: all clean. 1: something was found. 3: the rest is clean, but there was no advisory database, so advisories were NOT checked.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

if ! cargo deny --version >/dev/null 2>&1; then
    echo "supply-chain.sh: installing cargo-deny"
    cargo install --locked cargo-deny || { echo "supply-chain.sh: cargo-deny could not be installed; nothing was checked" >&2; exit 1; }
fi

found=0
cargo deny --locked check licenses bans sources || found=1

# The database is fetched; when that fails, a copy from an earlier run will do.
cargo deny --locked fetch db || echo "supply-chain.sh: the advisory database could not be fetched; looking for an earlier copy" >&2
status=0
verdict=$(cargo deny --color never --locked --offline check advisories 2>&1) || status=$?
printf '%s\n' "$verdict"

# Without a database cargo-deny ends with an error and gives no verdict on any crate.
if ! grep -Eq 'advisories (ok|FAILED)' <<<"$verdict" || grep -Eiq 'failed to (load|open|fetch|acquire).*advisory' <<<"$verdict"; then
    echo "supply-chain.sh: there is no advisory database here, so known advisories were NOT checked" >&2
    if [ "$found" -ne 0 ]; then exit 1; fi
    exit 3
fi

if [ "$status" -ne 0 ]; then found=1; fi
exit "$found"
