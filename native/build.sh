#!/bin/sh
# Builds the addon with the system's C++ compiler and the node-api-headers package: every *.cc in
# this folder becomes one object, all linked into build/lattice.node, but for poke-helper.cc, which
# is a program, build/lattice-poke. A call with nothing to do
# costs a few milliseconds: an object is fresh while it is newer than its source and every header.
# LATTICE_SANITIZE=address|thread builds build/lattice-asan.node or build/lattice-tsan.node beside;
# LATTICE_TARGET=aarch64 (or another machine that has a cross compiler) build/lattice-aarch64.node.
# CXX and CXXFLAGS are honoured. Objects and addon are replaced by rename: safe beside running ones.
set -eu
cd "$(dirname -- "$0")"

case "${LATTICE_SANITIZE:-}" in
  '') name=lattice extra= ;;
  address) name=lattice-asan extra='-g -fno-omit-frame-pointer -fsanitize=address,undefined' ;;
  thread) name=lattice-tsan extra='-g -fno-omit-frame-pointer -fsanitize=thread' ;;
  *) echo "build.sh: LATTICE_SANITIZE must be address or thread" >&2; exit 2 ;;
esac

cxx=${CXX:-c++}
if [ -n "${LATTICE_TARGET:-}" ]; then
  name=$name-$LATTICE_TARGET
  cxx=${CXX:-$LATTICE_TARGET-linux-gnu-g++}
fi

include=../node_modules/node-api-headers/include
[ -d "$include" ] || { echo "build.sh: node-api-headers is missing: run npm ci" >&2; exit 69; }

flags="-O2 -std=c++20 -fPIC -fvisibility=hidden -Wall -Wextra -Werror -pthread $extra ${CXXFLAGS:-}"
# The FUSE session registers itself here; the rest of the addon also builds without it.
if grep -qs '^void register_session' session*.cc; then flags="$flags -DLATTICE_SESSION"; fi

out=build/$name.node
objects=build/$name
stamp=$objects/flags
mkdir -p "$objects"

# Other flags or a newer header make every object stale.
known=
[ -f "$stamp" ] && IFS= read -r known < "$stamp" || true
all=
[ "$known" = "$cxx $flags" ] || all=1

linked=
compiled=
pids=
for source in *.cc; do
  object=$objects/${source%.cc}.o
  [ "$source" = poke-helper.cc ] || linked="$linked $object"
  stale=$all
  [ -n "$stale" ] || [ "$object" -nt "$source" ] || stale=1
  if [ -z "$stale" ]; then
    for header in *.h; do
      [ ! -f "$header" ] || [ "$object" -nt "$header" ] || { stale=1; break; }
    done
  fi
  [ -n "$stale" ] || continue
  command -v "$cxx" > /dev/null || {
    package=g++${LATTICE_TARGET:+-$LATTICE_TARGET-linux-gnu}
    echo "build.sh: no $cxx: install one (Debian: apt-get install $package)" >&2
    exit 69
  }
  compiled="$compiled $source"
done

compile() { # source
  object=$objects/${1%.cc}.o
  touch "$object.$$.time"
  # shellcheck disable=SC2086  # the flags are a list
  "$cxx" $flags -DNAPI_VERSION=8 -DNODE_GYP_MODULE_NAME=lattice -I"$include" \
    -c "$1" -o "$object.$$" || { rm -f "$object.$$" "$object.$$.time"; return 1; }
  # As old as the start of the compilation: a source saved meanwhile is compiled again.
  touch -r "$object.$$.time" "$object.$$"
  rm -f "$object.$$.time"
  mv -f "$object.$$" "$object"
}

# As many at a time as there are processors: each takes every n-th source.
jobs=$(nproc 2> /dev/null || getconf _NPROCESSORS_ONLN 2> /dev/null || echo 2)
lane=0
while [ "$lane" -lt "$jobs" ]; do
  ( index=0 code=0
    for source in $compiled; do
      [ $((index % jobs)) -ne "$lane" ] || compile "$source" || code=1
      index=$((index + 1))
    done
    exit "$code" ) &
  pids="$pids $!"
  lane=$((lane + 1))
done

for pid in $pids; do wait "$pid" || failed=1; done
[ -z "${failed:-}" ] || { echo "build.sh: compilation failed:$compiled" >&2; exit 1; }

if [ -n "$compiled" ] || [ ! -f "$out" ] || [ ! -f "build/$name-poke" ]; then
  # shellcheck disable=SC2086
  "$cxx" $flags -shared $linked -o "$out.$$"
  mv -f "$out.$$" "$out"
  # shellcheck disable=SC2086
  "$cxx" $flags "$objects/poke-helper.o" -o "build/$name-poke.$$"
  mv -f "build/$name-poke.$$" "build/$name-poke"
  printf '%s\n' "$cxx $flags" > "$stamp"
fi
