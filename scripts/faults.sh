#!/usr/bin/env bash
# The long run of the crash tests: kills and stops of the real server under mixed writes, on both databases.
#
#   scripts/faults.sh        50 kills for each database
#   scripts/faults.sh 300    that many
#
# A failing run prints its VESTIBULE_TEST_SEED: set it to draw the same moments and writes again.
set -euo pipefail
export VESTIBULE_TEST_KILLS="${1:-50}"
exec bash "$(dirname "${BASH_SOURCE[0]}")/test.sh" --profile faults crash::
