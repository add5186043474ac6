# Installs what `tests/run` and `tests/bench/run` need apart from Rust, if it is missing:
# rabbitmq-server, libfaketime, openssl and Python's venv with apt-get on Debian and Ubuntu, and
# oslo.messaging into target/python. Sourced in the project's folder. `install_needs RUST` installs
# everything (RUST: the version to ask for if Cargo is missing); nothing runs as a service.

OSLO='oslo.messaging>=17,<19'
PYTHON=target/python/bin/python

install_needs() {
    need_rust "$1"
    install_packages
    install_oslo
}

need_rust() {
    command -v cargo >/dev/null || missing "Rust $1 or later (https://rustup.rs)"
}

install_packages() {
    if ! has_rabbitmq; then
        has_apt || missing 'RabbitMQ 3.10 or later with Erlang, its scripts in the PATH'
        install_without_service
    fi
    if ! has_faketime; then
        has_apt || missing 'libfaketime, under /usr/lib'
        apt_install libfaketime
    fi
    if ! command -v openssl >/dev/null; then
        has_apt || missing 'the command openssl'
        apt_install openssl
    fi
    if ! has_oslo && ! has_venv python3 && ! has_venv /usr/bin/python3; then
        has_apt || missing 'Python 3.10 or later with venv and pip'
        apt_install python3 python3-venv
    fi
}

has_rabbitmq() {
    [ -x /usr/lib/rabbitmq/bin/rabbitmq-server ] || command -v rabbitmq-server >/dev/null
}

has_faketime() {
    compgen -G '/usr/lib/*/faketime/libfaketime.so.1' >/dev/null
}

has_oslo() {
    [ -x "$PYTHON" ] && "$PYTHON" -c 'import oslo_messaging' 2>/dev/null
}

has_venv() {
    "$1" -c 'import ensurepip, venv' 2>/dev/null
}

has_apt() {
    command -v apt-get >/dev/null
}

# The package would start its broker on the default port, now and at each boot. On Debian a policy
# file prevents the first; an existing one is kept.
install_without_service() {
    local policy=/usr/sbin/policy-rc.d
    if [ ! -e "$policy" ]; then
        trap "as_root rm -f $policy" EXIT
        printf '#!/bin/sh\nexit 101\n' | as_root tee "$policy" >/dev/null
        as_root chmod 755 "$policy"
    fi
    apt_install rabbitmq-server
    [ -z "$(trap -p EXIT)" ] || as_root rm -f "$policy"
    trap - EXIT
    if command -v systemctl >/dev/null; then
        as_root systemctl disable --now rabbitmq-server 2>/dev/null || true
    fi
}

apt_install() {
    echo "installing $*"
    as_root apt-get update
    as_root env DEBIAN_FRONTEND=noninteractive \
        apt-get install --yes --no-install-recommends "$@"
}

as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi
}

install_oslo() {
    has_oslo && return
    # An environment that an interrupted run left incomplete is removed.
    rm -rf target/python
    mkdir -p target
    local python
    for python in python3 /usr/bin/python3; do
        if has_venv "$python"; then
            "$python" -m venv target/python
            break
        fi
    done
    "$PYTHON" -m pip install --quiet --disable-pip-version-check "$OSLO"
}

missing() {
    {
        echo "$0 needs the following to be installed first:"
        printf -- '- %s\n' "$@"
    } >&2
    exit 1
}
