#!/usr/bin/env bash
# Build the parts of a Kubernetes cluster from the source package that Debian 12 has: it needs nothing but a mirror of
# Debian, and no images. Does nothing when they are there already. About six minutes with two idle cores, 2.5 GB of
# scratch space while it lasts, 210 MB in the end.
#
#   tests/backends/cluster/build.sh [FOLDER]
#
#   FOLDER                  default ${XDG_CACHE_HOME:-~/.cache}/stagecoach/kubernetes-1.20.2
#   STAGECOACH_BUILD_NICE   how much it gives way to others, 0 to 19 (default 10)
#
# While it builds it holds a lock on FOLDER.lock; when it fails it writes the reason to FOLDER.failed.
set -euo pipefail

target=${1:-${XDG_CACHE_HOME:-${HOME:-/root}/.cache}/stagecoach/kubernetes-1.20.2}
programs=(kube-apiserver kube-controller-manager kube-scheduler kubelet)
archive=kubernetes_1.20.5+really1.20.2.orig.tar.gz
sha256=b83c0780efb182d928dc63d46488a847f161f04e40a94b96bf5247dd671ecdfc
reflect2=/usr/share/gocode/src/github.com/modern-go/reflect2
step=

is_there() {
    local program
    for program in "${programs[@]}"; do
        [[ -x $target/bin/$program ]] || return 1
    done
}

give_up() {
    step=$1
    exit 1
}

scratch=
at_the_end() {
    local code=$?
    [[ -z $scratch ]] || rm -rf "$scratch"
    if ((code)); then
        echo "$step" >"$target.failed"
        echo "Kubernetes is not built: $step" >&2
    fi
}

is_there && exit
mkdir -p "$(dirname "$target")"
exec 9>"$target.lock"
flock 9
is_there && exit
rm -f "$target.failed"
trap at_the_end EXIT
trap 'give_up "it was stopped"' TERM INT

niceness=${STAGECOACH_BUILD_NICE:-10}
renice -n "$niceness" $$ >/dev/null
# Linux shares the processor among sessions first; within one, niceness counts.
if [[ -w /proc/$$/autogroup && $(ps -o sid= -p $$ | tr -d ' ') == "$$" ]]; then
    echo "$niceness" >"/proc/$$/autogroup"
fi

missing=()
for program in go make rsync /usr/lib/apt/apt-helper; do
    type -P "$program" >/dev/null || missing+=("$program")
done
[[ -d $reflect2 ]] || missing+=(golang-github-modern-go-reflect2-dev)
((${#missing[@]} == 0)) || give_up "these are missing: ${missing[*]}"

scratch=$(mktemp -d "$(dirname "$target")/.building-XXXXXX")
cd "$scratch"

mirror=$(apt-get indextargets --format '$(REPO_URI)' "Codename: bookworm" "Created-By: Packages" | head -n 1)
[[ -n $mirror ]] || give_up "apt knows no mirror of Debian 12 (bookworm)"
step="The source package cannot be fetched, or is not the one that is known"
/usr/lib/apt/apt-helper download-file "${mirror%/}/pool/main/k/kubernetes/$archive" "$archive" "SHA256:$sha256"
echo "$sha256  $archive" | sha256sum --check -

step="The source package cannot be unpacked"
tar -xzf "$archive"
rm "$archive"
cd kubernetes-1.20.2
# The one that comes along makes the server crash when it is built by Go 1.18 or newer.
rm vendor/github.com/modern-go/reflect2/*.{go,s}
cp "$reflect2"/*.{go,s} vendor/github.com/modern-go/reflect2/

step="The sources do not compile"
cat >"$scratch/version" <<'END'
KUBE_GIT_COMMIT=debian
KUBE_GIT_TREE_STATE=clean
KUBE_GIT_VERSION=v1.20.2
KUBE_GIT_MAJOR=1
KUBE_GIT_MINOR=20
END
mkdir -p "$scratch/home" .go/src/k8s.io
ln -sfn ../../.. .go/src/k8s.io/kubernetes
# All four in one sort: else everything is compiled twice.
env -u MAKEFLAGS -u GOROOT \
    HOME="$scratch/home" TMPDIR="$scratch" GOPATH="$PWD/.go" PATH="/usr/lib/go/bin:$PATH" CGO_ENABLED=0 GOPROXY=off \
    GOFLAGS="-mod=vendor -tags=providerless,dockerless" KUBE_GIT_VERSION_FILE="$scratch/version" \
    KUBE_STATIC_OVERRIDES=kubelet make GOLDFLAGS="-s -w" WHAT="${programs[*]/#/cmd/}"

step="The programs are not where they should be"
mkdir -p "$scratch/done/bin"
for program in "${programs[@]}"; do
    cp "_output/local/bin/$(go env GOOS)/$(go env GOARCH)/$program" "$scratch/done/bin/"
done
rm -rf "$target"
mv "$scratch/done" "$target"
