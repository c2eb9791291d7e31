#!/usr/bin/env bash
# The long run of the fault tests, on both databases: the real server under writes is killed, stopped and paused, and brokers, webhooks and
# mail servers are away, slow, dead or wrong. At the end it prints a table: for each test the trials, what was acknowledged, lost and told more
# than once, how long a recovery took, and the p99 of those whom the fault is no business of.
#
#   scripts/faults.sh           100 kills for each database, the mail server down for a minute
#   scripts/faults.sh 300       that many kills, at least 70 writes between two of them, the mail server down for five minutes
#   scripts/faults.sh 10 20     that many kills, the mail server down for 20 s
#
# Kills and stops come one test after the other, so that one test's load is not in another's figures; the mail server is away meanwhile.
# A failing run prints its VESTIBULE_TEST_SEED: set it to draw the same moments and writes again.
set -euo pipefail
kills="${1:-100}"
lines=$(mktemp)
trap 'rm -f "$lines"' EXIT
export VESTIBULE_TEST_KILLS="$kills"
export VESTIBULE_TEST_MAIL_AWAY="${2:-300}"
export VESTIBULE_TEST_WRITES="${VESTIBULE_TEST_WRITES:-75}"
export VESTIBULE_TEST_EVENTS="${VESTIBULE_TEST_EVENTS:-5000}"
export VESTIBULE_TEST_ROUNDS="${VESTIBULE_TEST_ROUNDS:-40}"
export VESTIBULE_TEST_REPORT="$lines"
status=0
bash "$(dirname "${BASH_SOURCE[0]}")/test.sh" --profile faults --success-output final \
    -E 'test(/^(crash|faults|two_nodes)::|^outbox::.*::f[0-9]+_/)' || status=$?
printf '\n%-70s %6s %12s %5s %10s %15s %10s\n' fault trials acknowledged lost duplicates 'recovery ms' 'p99 ms'
printf '%-70s %6s %12s %5s %10s %15s %10s\n' '' '' '' '' '' 'p50/max' bystanders
sort "$lines"
exit "$status"
