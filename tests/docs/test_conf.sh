#!/bin/sh
# Every key of supervisor/config.c is explained in docs/soma.conf.5 below its section, and no other.   usage: SOURCE
set -eu
cd "$1"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
# Rows of the tables: {"section", "name", parse_…
grep -o '{"[a-z]*", "[a-z_]*", parse_' supervisor/config.c | sed 's/{"\(.*\)", "\(.*\)", parse_/\1 \2/' | sort >"$work/code"
# .Ss [section] … .It Cm name
awk '$1 == ".Ss" { section = $2; gsub(/[^a-z]/, "", section) } $1 == ".It" && $2 == "Cm" { print section, $3 }' \
    docs/soma.conf.5 | sort >"$work/page"
[ "$(wc -l <"$work/code")" -ge 20 ] || { echo "the tables of supervisor/config.c were not found" >&2; exit 1; }
diff "$work/code" "$work/page" || {
    echo "error: docs/soma.conf.5 and supervisor/config.c differ (<: only in the code, >: only in the page)" >&2
    exit 1
}
