#!/usr/bin/env bash
# The long run of the fault tests, on both databases: the real server under writes is killed, stopped and paused, and NATS, webhooks and the mail
# server are away, slow, dead or wrong. At the end it prints a table: for each test the trials, how many writes were acknowledged, how much of it
# was lost, how often something was told once more, how long a recovery took (to the first 200 of /readyz, or until a backlog was gone), and
# the p99 of those whom the fault is no business of.
#
#   scripts/faults.sh           50 kills of the server on each database, and the mail server down for five minutes
#   scripts/faults.sh 300       that many kills, with more than 20000 acknowledged writes on each database
#   scripts/faults.sh 10 20     that many kills, and the mail server down for 20 s
#
# It ends with an error if any test fails; the table is printed all the same. A failing test prints its VESTIBULE_TEST_SEED: set it to draw the
# same moments and writes again. VESTIBULE_TEST_WRITES (between two kills, 75), VESTIBULE_TEST_EVENTS (in a backlog, 5000) and
# VESTIBULE_TEST_ROUNDS (of two nodes, 40) can be set, too. The tests run one by one, so that none is the load in another's figures; only the
# mail server is down meanwhile. All figures are those of a debug build.
set -euo pipefail
lines=$(mktemp)
trap 'rm -f "$lines"' EXIT
export VESTIBULE_TEST_KILLS="${1:-50}"
export VESTIBULE_TEST_MAIL_AWAY="${2:-300}"
export VESTIBULE_TEST_WRITES="${VESTIBULE_TEST_WRITES:-75}"
export VESTIBULE_TEST_EVENTS="${VESTIBULE_TEST_EVENTS:-5000}"
export VESTIBULE_TEST_ROUNDS="${VESTIBULE_TEST_ROUNDS:-40}"
export VESTIBULE_TEST_REPORT="$lines"
status=0
bash "$(dirname "${BASH_SOURCE[0]}")/test.sh" --profile faults --success-output final \
    -E 'test(/^(crash|faults|two_nodes)::|^outbox::.*::f[0-9]+_/) - test(what_was_lost_fails_the_test)' || status=$?
printf '\n%-70s %6s %12s %5s %10s %15s %10s\n' fault trials acknowledged lost duplicates 'recovery ms' 'p99 ms'
printf '%-70s %6s %12s %5s %10s %15s %10s\n' '' '' '' '' '' p50/max bystanders
LC_ALL=C sort "$lines"
exit "$status"
