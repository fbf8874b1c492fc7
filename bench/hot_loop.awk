# SPDX-License-Identifier: MIT-0
#
# Prints the innermost loop of `name` with the most instructions that match
# `wanted`, out of AArch64 assembly. A loop is what lies between a label and a
# branch back to it; an innermost one has no other branch back in it.
#
#     awk -v name=FUNCTION -v wanted=fmla -f hot_loop.awk file.s

$1 == name ":" { inside = 1; next }
!inside { next }
$1 == ".size" && index($2, name ",") == 1 { exit }
{ sub(/[ \t]*\/\/.*/, "") }
/^[.A-Za-z_][.A-Za-z0-9_$]*:/ { label[substr($1, 1, length($1) - 1)] = count; next }
/^[ \t]*\./ || NF == 0 { next }
{
    line[++count] = $0
    total[count] = total[count - 1] + ($1 ~ wanted)
    if ($1 ~ /^(b|b\..*|b(eq|ne|cs|cc|hs|lo|hi|ls|mi|pl|vs|vc|ge|lt|gt|le)|cbn?z|tbn?z)$/ && $NF in label) {
        first = label[$NF] + 1
        if (last_first < first) { # nothing in it goes back: innermost
            n = total[count] - total[first - 1]
            if (n > best) { best = n; from = first; to = count - 1 }
        }
        if (first > last_first)
            last_first = first
    }
}
END {
    for (i = from; i <= to; i++)
        print line[i]
    exit !best
}
