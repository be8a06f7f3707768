"""What a plain ``/bin/sh`` runs where there is no Python; see :mod:`._bash_alone`, which fills it in."""

from __future__ import annotations

#: Runs the stage. Between @ signs stand the values of one stage.
RUN = r"""
F=@FOLDER@
why=-
began=$(date -u +%Y-%m-%dT%H:%M:%S+00:00)
cannot() {
    IFS= read -r result <"$F/no-python.json"
    printf '%s' "$result" >"$F/result.part"
    mv "$F/result.part" "$F/result.json"
    exit 127
}
for tool in cat date env mkfifo mv sleep tail tee wc @TOOLS@; do
    command -v "$tool" >/dev/null 2>&1 || cannot
done
: >"$F/output"
: >"$F/out.kept"
: >"$F/err.kept"
mkdir -p @WORKDIR@ 2>/dev/null
cd @WORKDIR@ 2>/dev/null || why=scratch
[ "$why" != - ] || cd @FOLDER_OF_STAGE@ 2>/dev/null || why=folder
set -- @SHELL@
if [ $# = 0 ]; then
    if command -v bash >/dev/null 2>&1; then set -- bash -e "$F/stage.sh"; else set -- sh -e "$F/stage.sh"; fi
fi
command -v "$1" >/dev/null 2>&1 || why=shell
code=0
if [ "$why" != - ]; then
    echo 0 >"$F/out.count"
    echo 0 >"$F/err.count"
else
    # The log comes line by line: GNU's sed does that with -u, awk (that of busybox, too) by fflush().
    hide=cat
    if [ -e "$F/hide.sed" ]; then
        if : | sed -u -f "$F/hide.sed" 2>/dev/null; then
            hide="sed -u -f $F/hide.sed"
        elif : | awk -f "$F/hide.awk" 2>/dev/null; then
            hide="awk -f $F/hide.awk"
        else
            hide="sed -f $F/hide.sed"
        fi
    fi
    readers=
    for s in out err; do
        mkfifo "$F/$s" "$F/$s.tail" "$F/$s.size" "$F/$s.log"
        tail -c @KEPT@ <"$F/$s.tail" >"$F/$s.kept" &
        readers="$readers $!"
        wc -c <"$F/$s.size" >"$F/$s.count" &
        readers="$readers $!"
    done
    $hide <"$F/out.log" &
    readers="$readers $!"
    $hide <"$F/err.log" >&2 &
    readers="$readers $!"
    tee "$F/out.tail" "$F/out.size" <"$F/out" >"$F/out.log" &
    tees=$!
    tee "$F/err.tail" "$F/err.size" <"$F/err" >"$F/err.log" &
    tees="$tees $!"
    # Room on the disk for what is written at the end: the script may fill all the rest.
    printf '%262144s' ' ' >"$F/reserve"
    pid=
    trap 'why=stopped; [ -z "$pid" ] || kill -TERM "$pid" 2>/dev/null' TERM INT
    env @ENV@ "$@" >"$F/out" 2>"$F/err" </dev/null &
    pid=$!
    watch=
    if [ @LIMIT@ -gt 0 ]; then
        (
            sleep @LIMIT@
            : >"$F/late"
            kill -TERM "$pid"
            sleep @GRACE@
            kill -KILL "$pid"
        ) >/dev/null 2>&1 &
        watch=$!
    fi
    wait "$pid"
    code=$?
    # A signal ends the wait, not the script.
    while kill -0 "$pid" 2>/dev/null; do
        wait "$pid"
        code=$?
    done
    # What filled the disk is mostly there still.
    if [ "$why" = - ] && [ "$code" != 0 ]; then
        printf '%65536s' ' ' 2>/dev/null >"$F/probe"
        [ "$(($(wc -c <"$F/probe")))" = 65536 ] || why=full
        : >"$F/probe"
    fi
    : >"$F/reserve"
    [ -z "$watch" ] || kill "$watch" 2>/dev/null
    left=@DRAIN@
    for one in $tees; do
        while kill -0 "$one" 2>/dev/null; do
            if [ "$left" -le 0 ]; then
                kill "$one"
                break
            fi
            left=$((left - 1))
            sleep 0.1 2>/dev/null || sleep 1
        done
    done
    # These end with the two, whatever the script left behind.
    for one in $readers; do wait "$one"; done
    [ ! -e "$F/late" ] || why=late
fi
ended=$(date -u +%Y-%m-%dT%H:%M:%S+00:00)
size() { echo $(($(wc -c <"$1"))); }
{
    printf 'stagecoach-shell 1 %s %s %s %s' "$why" "$code" "$began" "$ended"
    printf ' %s' "$(($(cat "$F/out.count")))" "$(($(cat "$F/err.count")))"
    printf ' %s' "$(size "$F/out.kept")" "$(size "$F/err.kept")"
    printf '\n'
    cat "$F/out.kept" "$F/err.kept" "$F/output"
} >"$F/result.part"
mv "$F/result.part" "$F/result.json"
exit "$code"
"""

#: For awk: every call of ``hide`` replaces one secret value.
AWK = r"""
function hide(line, secret,    done, at) {
    done = ""
    while ((at = index(line, secret)) > 0) {
        done = done substr(line, 1, at - 1) "***"
        line = substr(line, at + length(secret))
    }
    return done line
}
{
    line = $0
@CALLS@    print line
    fflush()
}
"""

#: What runs where the stage cannot: the result that says why is handed over, by the shell alone.
REFUSAL = r"""
IFS= read -r result <@FOLDER@/no-python.json
printf '%s' "$result" >@FOLDER@/result.part
mv @FOLDER@/result.part @FOLDER@/result.json
exit 127
"""
