# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0-or-later
# For what runs on the host beside a guest (meanwhile_NAME): words with the guest,
# which says `tell_host WORD` (load.sh), and commands to QEMU.
#
# What they answer is in the variable `answer`.

# ask WORD...: whether beside.py could do it
ask() {
    printf '%q ' "$@" >&4
    echo >&4
    local status
    read -r status answer <&5
    [ "$status" = ok ]
}

# must_do WORD...: it must
must_do() {
    if ! ask "$@"; then
        echo "$answer" | fail "$*"
        finish
    fi
}

# hear WORD: wait until the guest says it; what else is in its line
hear() {
    must_do hear "$1"
}

# go_on [WORD]: let the guest go on that waits since it was heard
go_on() {
    must_do go_on "$@"
}

# qmp COMMAND NAME=VALUE...: it must succeed
qmp() {
    must_do qmp "$@"
}

# there COMMAND NAME=VALUE...: to the VM that the guest can move to
there() {
    must_do there "$@"
}

# arrived: the guest is there; all that follows is about that VM
arrived() {
    must_do arrived
}

# refused COMMAND NAME=VALUE...: what QEMU says when it must not
refused() {
    if ask qmp "$@"; then
        echo "$answer" | fail "$1 is refused"
    fi
}

# says TEXT: the answer does
says() {
    [[ $answer == *"$1"* ]]
}

# figure NODE NAME...: the sum of figures that QEMU keeps of a disk
figure() {
    must_do figure "$@"
}

# zones NODE: how many are empty, open, closed and full
zones() {
    must_do zones "$@"
}

# next_event: its name and what it says; fails when the VM has ended
next_event() {
    ask event
}

# wait_event NAME...: until there is one that has all these words
wait_event() {
    while next_event; do
        local word missing=
        for word; do
            [[ " $answer " == *" $word "* ]] || missing=1
        done
        [ -n "$missing" ] || return 0
    done
    fail "$*" </dev/null
    finish
}

# wait_end: until the VM ends
wait_end() {
    while next_event; do :; done
}

# set_all ZONES OFFSET CONDITION: and none is left out
set_all() {
    qmp block-zone-set-condition node-name=disk offset="$2" count="$1" \
        condition="$3"
}

# all_fail ZONES OFFSET: while the guest is in fails_below
all_fail() {
    hear "all zones fail"
    set_all "$1" "$2" read-only
    must_do go_on
    hear "all zones are back"
    set_all "$1" "$2" by-data
    must_do go_on
    wait_end
}
