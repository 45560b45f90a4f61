# shellcheck shell=bash disable=SC2034
# SPDX-License-Identifier: GPL-2.0-or-later
# The versions that the commands work with, for bash (common.sh) and Python
# (project.py) alike: lines NAME=VALUE, without quotes or expansions.

BASE_VERSION=10.0       # the QEMU series the project is developed on
SECOND_VERSION=10.2     # the other one that must build and pass
DEBIAN_STABLE=trixie    # whose kernel and tools guests have
DEBIAN_OLDSTABLE=bookworm    # has what the others may lack
DEBIAN_NEWEST=sid       # those of `dev/guest --kernel newest`
PYTHON_NEEDED=3.11      # what Python of dev/ may use, Debian 12's
