#!/bin/sh
# Runs one of RabbitMQ's commands in the root folder next to this folder. `tests/broker.sh` copies
# this script to the name of each command.
#
# The mounts are in a namespace of this process and end with it. Each step replaces the previous
# process: the pid does not change, so that a test can kill and suspend it.
set -eu
root=$(cd "$(dirname "$0")/../root" && pwd -P)
# HOME is the folder of the test's nodes, inside the temporary folder.
exec unshare --mount sh -euc '
    root=$0 command=$1 shared=${HOME%/*}
    shift
    mkdir -p "$root$shared"
    mount --bind "$shared" "$root$shared"
    mount --bind /proc "$root/proc"
    mount --bind /dev "$root/dev"
    PATH=/usr/sbin:/usr/bin:/sbin:/bin
    exec chroot "$root" "/usr/lib/rabbitmq/bin/$command" "$@"
' "$root" "$(basename "$0")" "$@"
