#!/bin/sh
# One of RabbitMQ's commands out of the root folder beside this folder. `tests/broker.sh` puts a
# copy of this under each command's name.
#
# The mounts are in a namespace of this process alone and end with it. Each step replaces the one
# before: the pid stays, so that a test can kill and suspend what it has started.
set -eu
root=$(cd "$(dirname "$0")/../root" && pwd -P)
# A test keeps the files of its nodes in HOME, a folder of the temporary folder.
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
