#!/bin/sh
# Tries the set-up where nothing is installed: a minimal Debian 12 in a folder (debootstrap), with
# git, this machine's node, npm, apt sources and npm settings, and a clone of the last commit.
# Runs as root there: bootstrap with its apt branch, again (must be silent), then COMMANDs.
# `sh scripts/try-bare.sh [--keep] [COMMAND…]`; needs root, debootstrap, network; not part of CI.
set -eu

keep=
if [ "${1:-}" = --keep ]; then keep=1; shift; fi
checkout=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)
bare=$(mktemp -d "${TMPDIR:-/tmp}/lattice-bare.XXXXXX")

clean_up() {
  for mount in dev/shm dev/fuse proc; do
    ! mountpoint -q "$bare/$mount" 2>/dev/null || umount -l "$bare/$mount"
  done
  if grep -q " $bare/" /proc/self/mounts; then
    echo "mounts are left below $bare: not removed" >&2
  elif [ -n "$keep" ]; then echo "kept: $bare" >&2
  else rm -rf "$bare"
  fi
}
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

echo '== a minimal Debian 12' >&2
chmod 755 "$bare"
debootstrap --variant=minbase --include=git bookworm "$bare" >"$bare.log" 2>&1 ||
  { cat "$bare.log" >&2; exit 1; }
rm -f "$bare.log"

# node and what it links to beyond the minimal system, npm, and this machine's settings
node=$(readlink -f "$(command -v node)")
npm=$(readlink -f "$(command -v npm)")
npm=${npm%/bin/npm-cli.js}
install -D -m 755 "$node" "$bare/usr/bin/node"
mkdir -p "$bare$npm"
cp -a "$npm/." "$bare$npm/"
ln -sf "$npm/bin/npm-cli.js" "$bare/usr/bin/npm"
ldd "$node" | sed -n 's/.*=> \(\/[^ ]*\).*/\1/p' | while read -r library; do
  [ -e "$bare$library" ] || install -D "$library" "$bare$library"
done
rm -f "$bare/etc/apt/sources.list"
cp -a /etc/apt/sources.list* /etc/apt/apt.conf.d "$bare/etc/apt/"
for file in /etc/npmrc /usr/etc/npmrc "$HOME/.npmrc" /etc/ssl/certs/ca-certificates.crt \
  /etc/resolv.conf /etc/hosts; do
  [ ! -e "$file" ] || install -D -m 644 "$file" "$bare$file"
done
mkdir -p "$bare/tmp" "$bare/root" "$bare/dev/shm"
git clone -q "$checkout" "$bare/root/lattice"

mount -t proc proc "$bare/proc"
mount -t tmpfs tmpfs "$bare/dev/shm"
if [ -e /dev/fuse ]; then
  [ -e "$bare/dev/fuse" ] || : > "$bare/dev/fuse"
  mount --bind /dev/fuse "$bare/dev/fuse"
fi

inside() { chroot "$bare" /usr/bin/env HOME=/root sh -c "cd /root/lattice && $1"; }

echo '== what is not there' >&2
inside 'for it in fusermount3 c++ sudo make python3; do
  command -v $it >/dev/null || printf "%s " $it; done; echo; node --version' >&2
echo '== first set-up' >&2
inside 'sh scripts/bootstrap.sh'
echo '== second set-up: silent' >&2
said=$(inside 'sh scripts/bootstrap.sh' 2>&1)
[ -z "$said" ] || { echo "not silent: $said" >&2; exit 1; }
inside 'node -e "require(\"/root/lattice/native/build/lattice.node\")"'
for command in "$@"; do
  echo "== $command" >&2
  inside "$command"
done
echo '== done' >&2
