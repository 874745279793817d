# match.awk WANT OUTPUT: is every line of WANT found in OUTPUT, in this order? Prints the first that is not; exit 1.
function blanks(text) { gsub(/[ \t]+/, " ", text); sub(/^ /, "", text); sub(/ $/, "", text); return text }
function holds(text, wanted,    parts, n, i, at) {
    n = split(wanted, parts, "…")
    for (i = 1; i <= n; i++) {
        if (parts[i] == "")
            continue
        at = index(text, parts[i])
        if (at == 0)
            return 0
        text = substr(text, at + length(parts[i]))
    }
    return 1
}
FILENAME == ARGV[1] { want[++wanted] = blanks($0); next }
next_wanted < wanted && holds(blanks($0), want[next_wanted + 1]) { next_wanted++ }
END { if (next_wanted < wanted) { print want[next_wanted + 1]; exit 1 } }
