#!/bin/sh
# Does what the documents say, in a copy of the project: every `sh` block, in order, and compares (blocks.awk tells how).
# One shell per document, as a reader has one. The two big commands of README.md, scripts/quickstart and scripts/test,
# stand in a block of their own that is not run here: this is part of one and takes the other's minute.
#   usage: test_docs.sh [--user] BUILD SOURCE DOCUMENT...     --user: under root, as an ordinary user
set -u
umask 022
user=
[ "$1" != --user ] || { user=64990; shift; }
[ "$(id -u)" = 0 ] || user=
slack=${SOMA_TEST_SLACK:-1}

# copy BUILD SOURCE : the project as its user has it. Of what is built only the programs: they find each other by their
# own location.
copy() {
    mkdir -p "$project" "$scratch/home" || return 1
    (cd "$2" && tar cf - README.md LICENSE docs examples scripts tests/docs) | tar xf - -C "$project" --no-same-owner ||
        return 1
    for program in "$1"/*/soma "$1"/*/somad "$1"/*/soma-*; do
        [ -f "$program" ] && [ -x "$program" ] || continue
        room=$project/build/$(basename "$(dirname "$program")")
        mkdir -p "$room" && cp "$program" "$room" || return 1
    done
}
if [ "$1" != --inside ]; then
    scratch=$(mktemp -d "${TMPDIR:-/tmp}/soma-docs.XXXXXX") || exit 1
    trap 'rm -rf "$scratch"' EXIT
    chmod 755 "$scratch"
    project=$scratch/soma
    copy "$1" "$2" || exit 1
    shift 2
    if [ -n "$user" ]; then
        chown -R "$user:$user" "$scratch"
        setpriv --reuid "$user" --regid "$user" --clear-groups sh "$project/tests/docs/test_docs.sh" --inside "$scratch" "$@"
    else
        sh "$project/tests/docs/test_docs.sh" --inside "$scratch" "$@"
    fi
    exit
fi
scratch=$2
shift 2
project=$scratch/soma
here=$project/tests/docs

# The places of a user who has nothing yet.
unset SOMA_CONFIG XDG_CONFIG_HOME XDG_STATE_HOME XDG_RUNTIME_DIR
HOME=$scratch/home TERM=dumb NO_COLOR=1 LC_ALL=C.UTF-8 DEBUGINFOD_URLS=
export HOME TERM NO_COLOR LC_ALL DEBUGINFOD_URLS

# run_chunk STEM : once; sets t_status
run_chunk() {
    t_status=0
    read -r t_line t_code t_soon <"$1.how"
    if [ "$t_code$t_soon" = 00 ]; then # any command may fail the chunk
        t_running=$1
        set -e
        . "$1.sh" >"$1.out" 2>&1 </dev/null
        set +e
        t_running=
    else
        . "$1.sh" >"$1.out" 2>&1 </dev/null || t_status=$?
    fi
}
failed() {
    printf '%s:%s: %s\n' "$t_document" "$t_line" "$1" >&2
    sed 's/^/    | /' "$2.sh" >&2
    printf '    -- said:\n' >&2
    sed 's/^/    | /' "$2.out" >&2
    find . -name up.log -exec tail -n 8 {} + | sed "s/^/    up.log | /" >&2
}
# check_chunk STEM : runs it and compares, again and again if it may; 1 when it stays wrong
check_chunk() {
    t_looks=0
    while :; do
        run_chunk "$1"
        t_missing=$(awk -f "$here/match.awk" "$1.want" "$1.out") && [ "$t_status" = "$t_code" ] && return 0
        t_looks=$((t_looks + 1))
        if [ "$t_soon" = 0 ] || [ "$t_looks" -gt $((300 * slack)) ]; then
            failed "exit $t_status, wanted $t_code; not found: ${t_missing:-nothing}" "$1"
            return 1
        fi
        sleep 0.03
    done
}
# document FILE : a subshell of its own; its number of chunks, or 1
document() (
    t_document=$1 t_running='' t_dir=$scratch/chunks/$(basename "$1")
    STATE_DIRECTORY=$t_dir/state RUNTIME_DIRECTORY=$t_dir/run
    export STATE_DIRECTORY RUNTIME_DIRECTORY
    mkdir -p "$t_dir" && cd "$project" || exit 1
    t_chunks=$(awk -v dir="$t_dir" -f "$here/blocks.awk" "$1") || exit 1
    trap '[ -z "$t_running" ] || failed "ended early" "$t_running"; "$project/build/cli/soma" stop >/dev/null 2>&1
        for t_job in $(jobs -p); do kill "$t_job" 2>/dev/null; done; wait' EXIT
    [ "$t_chunks" -gt 0 ] || { printf '%s: no block to run\n' "$1" >&2; exit 1; }
    for t_how in "$t_dir"/*.how; do
        check_chunk "${t_how%.how}" || exit 1
    done
    printf '%s: %s pieces run\n' "$1" "$t_chunks"
)

bad=0
for file in "$@"; do
    document "$file" || bad=1
done
exit "$bad"
