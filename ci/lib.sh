# shellcheck shell=bash
# Shared by the scripts of ci/, which source it: where the tree is, which tools there are, how an environment is made.
# Settings: PYTHON (default: the first python3 that is new enough) and CC (default: cc, gcc or clang).

set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
export PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_INPUT=1
# For pytest: one test more at once than this process may use CPUs, since some wait, but not very many. A worker that
# is done takes over what others have not begun.
workers=$(($(nproc) + 1))
in_parallel=(-n $((workers > 16 ? 16 : workers)) --dist worksteal)

die() {
    echo "${0##*/}: $*" >&2
    exit 1
}

# What is to be done cannot be had here.
cannot() {
    echo "${0##*/}: $*" >&2
    exit 77
}

say() {
    echo "== $*"
}

# The comment at the head of the calling script.
usage() {
    sed -n '2,/^[^#]/s/^# \{0,1\}//p' "$0"
    exit 0
}

find_python() {
    local candidate version old='' candidates=(python3 python3.14 python3.13 python3.12 python3.11)
    [ -z "${PYTHON:-}" ] || candidates=("$PYTHON")
    for candidate in "${candidates[@]}"; do
        if version=$("$candidate" -c 'import sys
print("%d.%d.%d" % sys.version_info[:3])
sys.exit(sys.version_info < (3, 11))' 2>/dev/null); then
            python=$candidate
            "$python" -c 'import ensurepip, venv' 2>/dev/null ||
                die "$python cannot make virtual environments: install its venv module (Debian, Ubuntu: apt install python3-venv)"
            return
        fi
        [ -z "$version" ] || old=${old:-$candidate is Python $version}
    done
    [ -z "$old" ] ||
        die "$old, and 3.11 or newer is needed: install one beside it (where the distribution has none: uv python install 3.13, pyenv or conda), then PYTHON=/path/to/python3.13 ci/${0##*/}"
    die "no Python 3.11 or newer${PYTHON:+ at PYTHON=$PYTHON}: install python3 >= 3.11 with venv (Debian, Ubuntu: apt install python3 python3-venv)"
}

find_compiler() {
    local candidate include
    cc=
    for candidate in "${CC:-cc}" gcc clang; do
        # shellcheck disable=SC2086 # CC may carry arguments
        if command -v ${candidate%% *} >/dev/null; then
            cc=$candidate
            break
        fi
        [ -z "${CC:-}" ] || break
    done
    [ -n "$cc" ] || die "no C compiler${CC:+ at CC=$CC}: install gcc >= 11 or clang >= 14 (Debian, Ubuntu: apt install gcc libc6-dev)"
    compiles '#if defined(__clang__) ? __clang_major__ < 14 : __GNUC__ < 11
        #error
        #endif' || die "the C compiler $cc is too old: install gcc >= 11 or clang >= 14"
    compiles '#include <stdlib.h>' ||
        die "the C compiler $cc finds no C library: install its headers (Debian, Ubuntu: apt install libc6-dev)"
    include=$("$python" -c 'import sysconfig; print(sysconfig.get_path("include"))')
    compiles '#include <Python.h>' -I"$include" ||
        die "$python has no C headers ($include/Python.h): install them (Debian, Ubuntu: apt install python3-dev)"
}

compiles() {
    local program=$1
    shift
    # shellcheck disable=SC2086
    echo "$program" | $cc "$@" -fsyntax-only -x c - 2>/dev/null
}

# can_write PATH...: those that do not exist yet are made where they will be.
can_write() {
    local path
    for path; do
        while [ ! -e "$path" ]; do
            path=$(dirname "$path")
        done
        [ -d "$path" ] || die "$path is no directory: remove it"
        [ -w "$path" ] || die "cannot write in $path (as $(id -un)): clone or copy the checkout to where you can"
    done
}

# attempt COMMAND: where it fails, one line says what the machine lacks if that can be told; else all its words.
attempt() {
    local words place
    if words=$("$@" 2>&1); then
        [ -z "$words" ] || echo "$words" >&2
        return
    fi
    for place in "$root" "${TMPDIR:-/tmp}"; do # tools do not always say it; a file that failed may have left some KiB
        [ "$(df -Pk "$place" 2>/dev/null | awk 'NR == 2 {print $4}')" -ge 1024 ] 2>/dev/null || words+="
no space left on device: $place"
    done
    case ${words,,} in
        *"no space left on device"* | *"disk quota exceeded"*)
            die "$(grep -i -e 'no space left on device' -e 'disk quota exceeded' <<<"$words" | tail -n 1) (.venv and build take 300 MB, and some more is used in TMPDIR)" ;;
    esac
    case $words in
        *"Permission denied"* | *"Read-only file system"*)
            die "cannot write: $(grep -e 'Permission denied' -e 'Read-only file system' <<<"$words" | tail -n 1); remove $venv and build/, or clone the checkout again" ;;
        *"No usable temporary directory"*) die "no temporary directory: set TMPDIR to one that can be written" ;;
        *"(from versions: none)"*)
            die "pip cannot reach its package index, or that has nothing for $("$python" -V): $(grep -o 'No matching distribution.*' <<<"$words"); look at the network and the proxy (HTTPS_PROXY, PIP_INDEX_URL)" ;;
    esac
    echo "$words" >&2
    die "failed: $*"
}

# make_venv DIRECTORY: sets `venv`, leaves an environment that works as it is. The scripts in one name its place, so
# where a checkout was moved it is made anew; so it is for another PYTHON.
make_venv() {
    local version='import sys; print(sys.version)'
    venv=$1
    [[ $venv != *:* ]] || die "the path $venv contains a colon, which PATH and virtual environments cannot: rename the directory"
    can_write "$venv" "$root/build"
    if "$venv/bin/python" -c 'import pip' 2>/dev/null && grep -qsF "$venv/bin/python" "$venv/bin/pip" &&
        { [ -z "${PYTHON:-}" ] || [ "$("$venv/bin/python" -c "$version")" = "$("$python" -c "$version")" ]; }; then
        return
    fi
    attempt "$python" -m venv --clear "$venv"
}

# Requirement lists of pyproject.toml, one a line, by dotted name: requirements build-system.requires project.dependencies
requirements() {
    "$python" -c '
import functools, sys, tomllib
project = tomllib.load(open(sys.argv[1], "rb"))
for name in sys.argv[2:]:
    print(*functools.reduce(lambda table, key: table[key], name.split("."), project), sep="\n")
' "$root/pyproject.toml" "$@"
}

pip_install() {
    attempt "$venv/bin/python" -m pip install -qq "$@"
}

# What a build outside pip's own isolation needs: the list in pyproject.toml, and cmake and ninja where the system has none.
install_build_tools() {
    local list
    mapfile -t list < <(requirements build-system.requires)
    pip_install "${list[@]}"
    mapfile -t list < <(cd "$root" && "$venv/bin/python" -c '
from scikit_build_core.build import get_requires_for_build_editable as needs
for requirement in needs({}): print(requirement)')
    [ ${#list[@]} -eq 0 ] || pip_install "${list[@]}"
}

# install_editable NAME EXTRAS [pip arguments]: objects are kept in build/NAME. Compiler warnings are errors where AMX_WERROR=ON.
install_editable() {
    local name=$1 extras=$2
    shift 2
    install_build_tools
    pip_install --no-build-isolation -e "$root$extras" --config-settings=build-dir="$root/build/$name" \
        --config-settings=cmake.define.AMX_WERROR="${AMX_WERROR:-OFF}" "$@"
}

# The package into $venv: a wheel, if one is named, else editable.
install_package() {
    if [ $# -eq 1 ]; then
        pip_install --force-reinstall --no-deps "$1"
    else
        find_compiler
        install_editable editable ""
    fi
}

# Pass these tests. One that skips since a library is missing fails the script.
pass_without_skips() {
    log=$(mktemp)
    trap 'rm -f "$log"' EXIT
    AMX_BACKEND=vector "$venv/bin/pytest" -q "${in_parallel[@]}" -m "not long" "$@" | tee "$log"
    ! grep -E '^SKIPPED.*(could not import|not installed)' "$log" || die "these tests did not run"
}

# sanitized_build NAME EXTRAS [pip arguments]: the package with AddressSanitizer and UndefinedBehaviorSanitizer, in
# .venv-sanitize. Needs gcc with libasan and libubsan.
sanitized_build() {
    local name=$1 extras=$2 libubsan
    shift 2
    find_python
    CC=gcc
    export CC
    find_compiler
    libasan=$(gcc -print-file-name=libasan.so)
    libubsan=$(gcc -print-file-name=libubsan.so)
    [ -e "$libasan" ] && [ -e "$libubsan" ] ||
        die "gcc has no sanitizer libraries: install libasan and libubsan (Debian, Ubuntu: apt install libgcc-12-dev)"
    make_venv "$root/.venv-sanitize"
    install_editable "$name" "$extras" --config-settings=cmake.define.AMX_SANITIZE=address,undefined \
        --config-settings=install.strip=false "$@"
}

# sanitized COMMAND: with the runtime of that build, which must be the first library. The first finding ends the process.
sanitized() {
    # CPython keeps its interned objects to the end, so leaks are not looked for. The tests want faults as faults, so the
    # signals and alternate stacks stay theirs. PYTHONMALLOC=malloc puts Python's own buffers between red zones too. An
    # allocation that no memory holds fails, as without a sanitizer.
    env LD_PRELOAD="$libasan" PYTHONMALLOC=malloc \
        ASAN_OPTIONS=detect_leaks=0:handle_segv=0:handle_sigbus=0:handle_sigfpe=0:use_sigaltstack=0:allocator_may_return_null=1 \
        UBSAN_OPTIONS=print_stacktrace=1:halt_on_error=1 \
        "$@"
}

# qemu-system-x86_64 and the keys of Debian's archive, which apt-get installs (as root, or by sudo without a password).
need_qemu_and_apt() {
    local as_root=()
    if ! command -v qemu-system-x86_64 >/dev/null || [ ! -e /usr/share/keyrings/debian-archive-keyring.gpg ]; then
        command -v apt-get >/dev/null || cannot "no apt-get, which installs qemu-system-x86_64 and downloads Debian's kernels"
        [ "$(id -u)" = 0 ] || as_root=(sudo -n)
        say "installing qemu-system-x86"
        { "${as_root[@]}" apt-get -qq update &&
            "${as_root[@]}" apt-get -qq install -y --no-install-recommends qemu-system-x86 debian-archive-keyring >/dev/null; } ||
            cannot "apt-get cannot install qemu-system-x86 and debian-archive-keyring"
    fi
}

# private_apt RELEASE [deb-src]: sets `private`, options with which apt knows that release of Debian, on request its sources
# too, and nothing of this system. What it keeps is in $unpacked, and apt's own lists are not touched. Lists are good for a
# day: newer packages take the place of older ones, which then cannot be downloaded.
private_apt() {
    # shellcheck disable=SC2154 # the script that sources this has made $unpacked
    local apt=$unpacked/apt-$1 key=/usr/share/keyrings/debian-archive-keyring.gpg
    private=(-o "Dir::Etc::sourcelist=$apt/sources.list" -o Dir::Etc::sourceparts=- -o Dir::State::status=/dev/null
        -o "Dir::State::lists=$apt/lists" -o "Dir::Cache=$apt" -o APT::Architecture=amd64 -o APT::Architectures=amd64
        -o APT::Sandbox::User=root -o Acquire::Check-Valid-Until=false)
    [ -z "$(find "$apt/known" -mmin -1440 2>/dev/null)" ] || return 0
    mkdir -p "$apt"/{lists,archives}/partial
    printf "%s [signed-by=$key] http://deb.debian.org/%s main\n" deb "debian $1" deb "debian-security $1-security" \
        ${2:+"$2" "debian $1"} >"$apt/sources.list"
    # Else what cannot be downloaded is a warning only.
    apt-get "${private[@]}" -o APT::Update::Error-Mode=any -qq update && touch "$apt/known"
}

# unpack RELEASE PACKAGE: download a package of Debian's and unpack it into $unpacked. Of a name that stands for the newest
# kernel this is the kernel that it depends on.
unpack() {
    local private newest
    private_apt "$1" || return
    newest=$(apt-cache "${private[@]}" depends "$2" | sed -n 's/^ *Depends: \(linux-image-.*\)/\1/p')
    (cd "$unpacked/apt-$1" && apt-get "${private[@]}" -qq download "${newest:-$2}") &&
        dpkg -x "$unpacked/apt-$1/${newest:-$2}"_*.deb "$unpacked"
}
