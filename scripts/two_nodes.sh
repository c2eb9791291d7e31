#!/usr/bin/env bash
# The long run of two nodes on one PostgreSQL and one NATS, all of them processes of this machine: each node is killed, paused and replaced
# while the other works, and NATS goes away and comes back.
#
#   scripts/two_nodes.sh        40 rounds, of four kinds in turn
#   scripts/two_nodes.sh 400    that many
#
# A failing run prints its VESTIBULE_TEST_SEED: set it to draw the same moments and writes again.
set -euo pipefail
export VESTIBULE_TEST_ROUNDS="${1:-40}"
exec bash "$(dirname "${BASH_SOURCE[0]}")/test.sh" --profile faults two_nodes::
