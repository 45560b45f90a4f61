# shellcheck shell=sh
# SPDX-License-Identifier: GPL-2.0-or-later
# image: limits.zoned
# seconds: 1800

# -w: zones that other tests have left active do not count.
run_tests "$(skipped anywhere without-conventional with-limit)" -w
