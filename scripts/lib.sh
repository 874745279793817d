# Shared by the scripts of this folder; sourced, never run.
set -eu
cd "$(dirname "$0")/.."
TOP=$PWD

say() {
    printf '%s\n' "$*" >&2
}

# What, why and what to do, then exit 1.
fail() {
    say "error: $1"
    [ $# -lt 2 ] || say "  why: $2"
    [ $# -lt 3 ] || say "  fix: $3"
    exit 1
}

BUILD_PACKAGES="build-essential meson ninja-build pkg-config libcurl4-openssl-dev liblmdb-dev libjansson-dev
libseccomp-dev libcmocka-dev libinih-dev nettle-dev"
# libclang-rt-dev: the sanitizers, which clang only recommends
TEST_PACKAGES="clang libclang-rt-dev llvm clang-format gdb strace procps util-linux openssl mandoc"

# Those of the arguments that are not installed.
missing_packages() {
    for package in "$@"; do
        status=$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null || true)
        [ "$status" = installed ] || printf '%s ' "$package"
    done
}

# Installs what is missing; touches neither apt nor the network when nothing is.
install_packages() {
    command -v dpkg-query >/dev/null || fail "this script installs packages on Debian" "dpkg-query is not here" \
        "install these yourself and build with meson: $*"
    missing=$(missing_packages "$@")
    [ -n "$missing" ] || return 0
    if [ "$(id -u)" = 0 ]; then
        as_root=
    elif command -v sudo >/dev/null; then
        as_root=sudo
    else
        fail "packages are missing: $missing" "neither root nor sudo" "as root: apt-get install $missing"
    fi
    say "installing: $missing"
    log=$(mktemp)
    # shellcheck disable=SC2086
    if ! { $as_root apt-get update -q && $as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -q \
        -o DPkg::Lock::Timeout=120 --no-install-recommends $missing; } >"$log" 2>&1; then
        tail -n 20 "$log" >&2
        rm -f "$log"
        fail "could not install: $missing" "see the lines above" \
            "repair what they name and run this again, or as root: apt-get install $missing"
    fi
    rm -f "$log"
}

# configure DIR OPTIONS... : a meson build folder, made once and kept up to date.
configure() {
    dir=$1
    shift
    if [ -f "$dir/build.ninja" ]; then
        return 0
    fi
    rm -rf "$dir"
    meson setup "$dir" "$@" >"$dir.log" 2>&1 || {
        cat "$dir.log" >&2
        fail "meson could not configure $dir" "see the lines above"
    }
    rm -f "$dir.log"
}

compile() {
    ninja -C "$1" >"$1/compile.log" 2>&1 || {
        tail -n 60 "$1/compile.log" >&2
        fail "compiling in $1 failed" "see the lines above"
    }
}
