# shellcheck shell=sh
# SPDX-License-Identifier: GPL-2.0-or-later
# seconds: 600

# A sample of those that are quick, with some that need conventional zones (14, 50)
# or a limit of active zones (66)
set -- 1 2 4 8 11 12 13 14 16 31 33 46 50 54 58 63 66
# shellcheck disable=SC2046  # words
fio_tests -w $(printf -- '-t %s ' "$@")
equal "skipped" "" "$(cat skipped)"
equal "number of tests" $# "$(grep -c '^Running test' tests)"
