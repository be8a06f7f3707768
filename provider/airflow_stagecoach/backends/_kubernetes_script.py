"""What runs in our container: unpack what travels, run the unit, hand the result over.

A pod keeps nothing once its container has ended, but for a message of 4096 bytes. A result that
fits, packed if need be, becomes that message. A larger one waits: the container stays, says so in
one marked line of its log, and ends when the result was taken or its time is over.
"""

from __future__ import annotations

import re
import shlex
from typing import NamedTuple

from airflow_stagecoach.backends.shipment import COMMAND, FOLDER

#: The volume with the parts of what travels, and where it is mounted.
UNIT_VOLUME, PARTS = "stagecoach-unit", "/stagecoach-unit"

#: The file of the container's last message, which Kubernetes reads.
MESSAGE = "/dev/termination-log"

#: The environment variable with the pod's own id; gone before the unit starts.
POD_UID = "STAGECOACH_POD"

#: What such a message begins with: a packed result, why nothing was run, a result that nobody took.
PACKED, REFUSED, EXPIRED = "gzip\n", "stagecoach-refused ", "stagecoach-expired "

#: Begins the line that tells of a waiting result.
MARK = "::stagecoach-result::"

_MARKED = re.compile(
    re.escape(MARK) + r"(?P<name>\S+) (?P<size>\d+) (?P<sum>-|[0-9a-f]{64}) (?P<code>\d+)(?P<oom> oom)?$"
)

_UNPACK = f"""\
import glob, io, tarfile
parts = [open(path, "rb").read() for path in sorted(glob.glob("{PARTS}/part-*"))]
tarfile.open(fileobj=io.BytesIO(b"".join(parts))).extractall("{FOLDER}")
"""

#: Between @ signs stand the values of one piece of work.
_SCRIPT = r"""
F=@FOLDER@
P=@PARTS@
T=@MESSAGE@
refuse() {
    printf '@REFUSED@%s' "$1" >"$T"
    exit 127
}
for tool in cat sleep wc; do
    command -v "$tool" >/dev/null 2>&1 || refuse "the image has no $tool"
done
# A pod that takes the place of one that was removed must not do the work again.
if [ -n "${@POD_UID@-}" ]; then
    IFS= read -r chosen <"$P/pod"
    [ "$chosen" = "$@POD_UID@" ] || refuse "another pod of this job has done the work, or part of it"
    unset @POD_UID@
fi
unpacked=
for python in python3 python; do
    command -v "$python" >/dev/null 2>&1 || continue
    if "$python" -W ignore -c @UNPACK@; then
        unpacked=yes
        break
    fi
done
if [ -z "$unpacked" ]; then
    command -v tar >/dev/null 2>&1 || refuse "the image has neither Python nor tar to unpack the stage"
    cat "$P"/part-* | tar -x -C "$F" -f - || refuse "the stage cannot be unpacked in $F"
fi
pid=
stopped=
trap 'stopped=yes; [ -z "$pid" ] || kill -TERM "$pid" 2>/dev/null' TERM INT
# Services are ready when somebody outside says so.
left=@READY@
while [ "$left" -gt 0 ] && [ ! -e "$F/ready" ]; do
    [ -z "$stopped" ] || exit 143
    sleep 0.2 2>/dev/null || sleep 1
    left=$((left - 1))
    [ "$left" -gt 0 ] || refuse "nobody has said that the services are ready"
done
(@COMMAND@) &
pid=$!
[ -z "$stopped" ] || kill -TERM "$pid" 2>/dev/null
wait "$pid"
code=$?
# A signal ends the wait, not what is waited for.
while kill -0 "$pid" 2>/dev/null; do
    wait "$pid"
    code=$?
done
R=$F/result.json
[ -e "$R" ] || exit "$code"
size=$(($(wc -c <"$R")))
if [ "$size" -le @FITS@ ]; then
    IFS= read -r line <"$R"
    case $line in "{"*)
        cat "$R" >"$T"
        exit "$code"
        ;;
    esac
fi
if [ "$size" -le 65536 ]; then
    gzip -c "$R" 2>/dev/null | base64 2>/dev/null >"$F/packed"
    packed=$(($(wc -c <"$F/packed")))
    if [ "$packed" -gt 0 ] && [ "$packed" -le $((@FITS@ - 8)) ]; then
        { echo gzip; cat "$F/packed"; } >"$T"
        exit "$code"
    fi
fi
# Who stops the work does not take its result.
[ -z "$stopped" ] || exit "$code"
sum=$(sha256sum <"$R" 2>/dev/null)
sum=${sum%% *}
oom=
for counts in /sys/fs/cgroup/memory.events /sys/fs/cgroup/memory/memory.oom_control; do
    [ -r "$counts" ] || continue
    while read -r what number; do
        [ "$what" != oom_kill ] || [ "$number" = 0 ] || oom=' oom'
    done <"$counts"
done
printf '@EXPIRED@%s' "$size" >"$T"
left=@WAIT@
said=0
while [ "$left" -gt 0 ] && [ -z "$stopped" ] && [ ! -e "$F/taken" ]; do
    # Again and again: a node that begins a new log file hides what was said before.
    [ $((said % 20)) != 0 ] || echo "@MARK@@NAME@ $size ${sum:--} $code$oom"
    said=$((said + 1))
    sleep 1
    left=$((left - 1))
done
exit "$code"
"""

#: Bytes of a message.
_FITS = 4096

#: How often our container looks whether its services are ready, a fifth of a second apart.
_LOOKS = 5 * 1800


class Waiting(NamedTuple):
    """What the marked line tells of a result that waits.

    :ivar sha256: hexadecimal, ``-`` where the image cannot tell
    :ivar oom: whether a process of the container was killed for its memory
    """

    size: int
    sha256: str
    exit_code: int
    oom: bool


def script(name: str, result_wait: float, *, services: bool = False) -> str:
    """The shell script of a container.

    :param name: of the work
    :param result_wait: seconds that a large result waits
    :param services: whether there are services to wait for
    """
    values = {
        "@FOLDER@": FOLDER,
        "@PARTS@": PARTS,
        "@MESSAGE@": MESSAGE,
        "@POD_UID@": POD_UID,
        "@REFUSED@": REFUSED,
        "@EXPIRED@": EXPIRED,
        "@UNPACK@": shlex.quote(_UNPACK),
        "@COMMAND@": COMMAND[-1],
        "@FITS@": str(_FITS),
        "@MARK@": MARK,
        "@NAME@": name,
        "@WAIT@": str(int(result_wait)),
        "@READY@": str(_LOOKS if services else 0),
    }
    text = _SCRIPT
    for key, value in values.items():
        text = text.replace(key, value)
    return text


def waiting(line: str, name: str) -> Waiting | None:
    """What a line of the log tells of a result that waits; ``None`` for other lines, and of other work.

    :param name: of the work
    """
    found = _MARKED.search(line)
    if found is None or found["name"] != name:
        return None
    return Waiting(int(found["size"]), found["sum"], int(found["code"]), bool(found["oom"]))


def without_mark(line: str) -> str | None:
    """A line of the log as the stage wrote it; ``None`` where it is ours alone."""
    found = _MARKED.search(line)
    if found is None:
        return line
    # The last line of a stage may have had no end.
    return line[: found.start()] or None
