# Another version of RabbitMQ than the installed one, for `tests/run --broker 4.3`: that of a newer
# release of Debian, in its own root folder under target/, where it is kept for later runs. Its
# libraries are newer than those of the machine, so each command runs with that root
# (`tests/broker-command.sh`). Sourced in the project's folder, after `tests/install.sh`.
# `choose_broker VERSION` fetches it if it is missing, and sets LISTENER_RABBITMQ to the folder of
# its commands.

BROKERS='3.10 (the installed one), 4.0 or 4.3'

# The suites that use a broker: those with tests that are ignored with `needs rabbitmq`.
BROKER_SUITES=(conformance rabbit fault interop examples simulation secrets support_works)

choose_broker() {
    local version=$1 folder=target/rabbitmq-$1 release
    if [ "$version" = 3.10 ]; then
        unset LISTENER_RABBITMQ
        return
    fi
    release=$(release_of "$version")
    require_root_on_debian "$version"
    if ! has_broker "$folder" "$version"; then
        mkdir -p target
        # A concurrent run waits, and finds the folder of the first.
        exec 9>"$folder.lock"
        flock 9
        has_broker "$folder" "$version" || fetch_broker "$folder" "$version" "$release"
        exec 9>&-
    fi
    LISTENER_RABBITMQ=$(cd "$folder/bin" && pwd -P)
    export LISTENER_RABBITMQ
}

has_broker() {
    cmp -s tests/broker-command.sh "$1/bin/rabbitmq-server" && [ "$(version_in "$1/root")" = "$2" ]
}

# The release of Debian that has this version. Debian's versions change, so the fetched one is checked.
release_of() {
    case $1 in
    4.0) echo trixie ;;
    4.3) echo sid ;;
    *) wrong_use "there is no RabbitMQ $1 for the tests: $BROKERS" ;;
    esac
}

# The folder gets its final name once it is complete.
fetch_broker() {
    local folder=$1 version=$2 release=$3 mirror found command
    command -v debootstrap >/dev/null || apt_install debootstrap debian-archive-keyring
    mirror=$(mirror_of_debian)
    echo "fetching RabbitMQ $version from Debian $release ($mirror)"
    rm -rf "$folder" "$folder.part"
    mkdir -p "$folder.part/bin"
    # It mounts /proc there, which must not remain if it is interrupted.
    if ! unshare --mount debootstrap --variant=minbase --include=rabbitmq-server \
        "$release" "$folder.part/root" "$mirror" >"$folder.log" 2>&1; then
        tail -n 20 "$folder.log" >&2
        fail "RabbitMQ $version could not be fetched from $mirror, see $folder.log: it needs a" \
            "network, or a folder $folder of an earlier run"
    fi
    found=$(version_in "$folder.part/root")
    [ "$found" = "$version" ] ||
        fail "Debian $release has RabbitMQ $found now, and $version was requested: name a release" \
            "that has $version in release_of (tests/broker.sh)"
    # A node finds its epmd through `localhost`.
    cp /etc/hosts /etc/resolv.conf "$folder.part/root/etc/"
    for command in "$folder.part"/root/usr/lib/rabbitmq/bin/rabbitmq*; do
        cp tests/broker-command.sh "$folder.part/bin/$(basename "$command")"
    done
    chmod 755 "$folder.part"/bin/*
    mv "$folder.part" "$folder"
}

# Major and minor version.
version_in() {
    dpkg-query --admindir="$1/var/lib/dpkg" --show --showformat='${Version}' rabbitmq-server \
        2>/dev/null | grep -oE '^[0-9]+\.[0-9]+' || true
}

mirror_of_debian() {
    local mirror
    mirror=$(awk '/^URIs:/ {print $2; exit}' /etc/apt/sources.list.d/debian.sources 2>/dev/null ||
        true)
    echo "${mirror:-http://deb.debian.org/debian}"
}

require_root_on_debian() {
    if ! has_apt || ! command -v dpkg-query >/dev/null; then
        fail "RabbitMQ $1 is fetched with Debian's debootstrap, and this machine has no apt-get:" \
            "install RabbitMQ $1 by hand, set LISTENER_RABBITMQ to the folder of its commands," \
            "and call $0 without --broker"
    fi
    [ "$(id -u)" = 0 ] ||
        fail "RabbitMQ $1 runs in its own root folder, and debootstrap, chroot and mount need" \
            "root: run $0 --broker $1 as root"
}

fail() {
    echo "$*" >&2
    exit 1
}

wrong_use() {
    echo "$*" >&2
    exit 2
}
