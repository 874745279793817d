# Cuts a document into chunks. A chunk is what stands in an `sh` block up to and with the next lines of expectations:
#
#   #=> TEXT      a line of the output contains TEXT; several stand in the order of the output
#   #~> TEXT      the same, sooner or later: the one line of shell before it is run again until all of it is so
#   #=> exit N    the last command ends with N (without such a line: every command with 0)
#
# In TEXT, … stands for anything, and blanks count as one. Blocks tagged `sh skip` are shown only. For chunk N the files
# DIR/N.sh, DIR/N.want and DIR/N.how (`line exit soon`) are written; the number of chunks is printed.
function begin() { line = 0; commands = ""; last = ""; want = ""; code = 0; soon = 0; expected = 0 }
function flush_chunk(    base) {
    if (line == 0)
        return
    base = sprintf("%s/%03d", dir, ++n)
    printf "%s%s", commands, last > (base ".sh")
    printf "%s", want > (base ".want")
    print line, code, soon > (base ".how")
    close(base ".sh"); close(base ".want"); close(base ".how")
    begin()
}
# What comes before the last line is a chunk of its own, run once.
function split_last(    kept) {
    if (commands != "") {
        kept = last
        last = ""
        flush_chunk()
        last = kept
        line = NR - 1
    }
    soon = 1
}
BEGIN { begin() }
!inside && /^```sh$/ { inside = 1; next }
!inside && /^```/ { inside = 2; next }
inside && /^```$/ { if (inside == 1) flush_chunk(); inside = 0; next }
inside != 1 { next }
/^#=> exit [0-9]+$/ { code = $3; expected = 1; next }
/^#~> / && !soon { split_last() }
/^#[=~]> / { want = want substr($0, 5) "\n"; expected = 1; next }
{
    if (expected)
        flush_chunk()
    if (line == 0)
        line = NR
    commands = commands last
    last = $0 "\n"
}
END {
    if (inside) { print "a block does not end" > "/dev/stderr"; exit 1 }
    print n + 0
}
