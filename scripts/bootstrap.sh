#!/bin/sh
# Makes a checkout ready to run: Node, Debian packages, npm packages, native addon, TypeScript.
# Called by npm before `start` and `test`, by bin/lattice when dist/ is missing, and as the root
# `install` script of npm with --after-npm. Silent, and a few milliseconds, when nothing is to do.
# Invariants: stdout stays empty (it belongs to the command that follows); every stamp lives in what
# it vouches for, so that deleting the thing deletes the stamp; all work happens under one lock.
# Exit codes: 0 ready, 69 something is missing that this script may not install, 1 a step failed.
set -u

nodeMin=20.19   # the same as "engines" in package.json; a test compares them

root=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd) || exit 1
cd "$root" || exit 1

say() { printf 'lattice: %s\n' "$*" >&2; }
die() { # code, sentence, hint
  printf 'lattice: error: %s\n' "$2" >&2
  [ -z "${3:-}" ] || printf 'lattice: hint: %s\n' "$3" >&2
  exit "$1"
}

# ---- what is missing or stale: cheap questions only, asked again under the lock ----

check_node() {
  version=$(node --version 2>/dev/null) ||
    die 69 'Node.js is not installed' "install Node.js $nodeMin or newer (nodejs.org)"
  version=${version#v}
  major=${version%%.*} minor=${version#*.} minor=${minor%%.*}
  minMajor=${nodeMin%%.*} minMinor=${nodeMin#*.}
  [ "$major" -gt "$minMajor" ] ||
    { [ "$major" -eq "$minMajor" ] && [ "$minor" -ge "$minMinor" ]; } ||
    die 69 "Node.js $version is too old: lattice needs $nodeMin or newer" \
      'install a newer Node.js, for example from nodejs.org, and run the same command again'
}

has() { command -v "$1" >/dev/null 2>&1; }

# Other systems keep libraries and headers elsewhere: only Debian and its like are asked for them.
is_debian() { has apt-get; }

has_libatomic() {
  for file in /usr/lib/*/libatomic.so.1 /lib/*/libatomic.so.1 \
    /usr/lib/libatomic.so.1 /usr/lib64/libatomic.so.1; do
    [ ! -e "$file" ] || return 0
  done
  return 1
}

missing_packages() { # sets $missing to the names of Debian packages
  missing=
  [ "$(uname -s)" = Linux ] || return 0
  has fusermount3 || missing="$missing fuse3"
  ! is_debian || has_libatomic || missing="$missing libatomic1"
  if stale_addon; then # a built addon needs no compiler any more
    has "${CXX:-c++}" || missing="$missing g++"
    ! is_debian || [ -e /usr/include/stdio.h ] || missing="$missing libc6-dev"
  fi
  missing=${missing# }
}

lockStamp=node_modules/.lattice-lock
stale_npm() { ! cmp -s package-lock.json "$lockStamp"; }

addonStamp=native/build/.built
stale_addon() {
  [ -f "$addonStamp" ] && [ -f native/build/lattice.node ] || return 0
  [ -n "$(find native -path native/build -prune -o -type f -newer "$addonStamp" -print)" ]
}

distStamp=dist/.built
stale_dist() { # directories count too: a removed source changes its folder
  [ -f "$distStamp" ] || return 0
  [ -n "$(find src tsconfig.json tsconfig.build.json -newer "$distStamp" -print)" ]
}

# ---- the steps ----

install_packages() {
  command="apt-get install -y --no-install-recommends $missing"
  if [ "$(id -u)" -eq 0 ]; then as_root=
  elif has sudo && sudo -n true 2>/dev/null; then as_root='sudo -n'
  elif has sudo; then by_hand="sudo sh -c 'apt-get update && $command'"
  else by_hand="su -c 'apt-get update && $command'"
  fi
  is_debian || die 69 "these are missing: $missing (names of Debian packages)" \
    'install what your system calls them, and run the same command again'
  [ -z "${by_hand:-}" ] || die 69 "these Debian packages are missing: $missing" "run: $by_hand"
  say "installing Debian packages: $missing"
  set -- env DEBIAN_FRONTEND=noninteractive apt-get -q -o DPkg::Lock::Timeout=300
  # shellcheck disable=SC2086  # $as_root and $missing are lists
  {
    fresh=
    if ! ls /var/lib/apt/lists/*_Packages* >/dev/null 2>&1; then
      $as_root "$@" update >&2 || die 1 'apt-get update failed' 'see its messages above'
      fresh=1
    fi
    $as_root "$@" install -y --no-install-recommends $missing >&2 && return 0
    # old lists name files that the mirror no longer has
    [ -z "$fresh" ] && $as_root "$@" update >&2 &&
      $as_root "$@" install -y --no-install-recommends $missing >&2 && return 0
  }
  die 1 "apt-get could not install: $missing" 'see its messages above'
}

install_npm() {
  if node scripts/is-installed.mjs; then # by hand
    cp package-lock.json "$1" && mv -f "$1" "$lockStamp" || exit 1
    return
  fi
  has npm || die 69 'npm is not installed' 'install npm (it comes with Node.js) and run this again'
  say 'installing npm packages, as package-lock.json has it'
  rm -f "$lockStamp"
  cp package-lock.json "$1" || exit 1 # as it is now: a change during the installation counts
  # no dependency needs its install script, and ours is what runs here
  npm ci --include=dev --ignore-scripts --no-progress --loglevel=error >&2 ||
    die 1 'npm ci failed' 'see its messages above; it needs to reach the npm registry once'
  mv -f "$1" "$lockStamp" || exit 1
}

build_addon() {
  say 'building the native addon'
  mkdir -p native/build || exit 1
  : > "$1"
  sh native/build.sh >&2 || die 1 'the native addon could not be built' 'see the messages above'
  mv -f "$1" "$addonStamp" || exit 1
}

build_dist() { # types are checked by `npm test`; here they are only taken away
  say 'compiling TypeScript'
  : > "$1"
  rm -rf dist.new dist.old
  node node_modules/typescript/bin/tsc -p tsconfig.build.json --noCheck --outDir dist.new >&2 ||
    die 1 'TypeScript could not be compiled' 'see the messages above'
  mv -f "$1" dist.new/.built || exit 1
  [ ! -d dist ] || mv dist dist.old || exit 1
  mv dist.new dist || exit 1
  rm -rf dist.old
}

# ---- run ----

check_node
missing_packages
if [ -z "$missing" ] && ! stale_npm && ! stale_addon && ! stale_dist; then exit 0; fi

# The lock is on a file that is always there; children inherit it, so that an npm ci that outlives
# this script still holds it. Without flock (not Linux) two first starts at once are on their own.
exec 9<package.json
if has flock && ! flock -n 9; then
  say 'waiting for another set-up of this checkout'
  flock 9
fi

temp=$root/.bootstrap.$$
trap 'rm -f "$temp"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

missing_packages
if [ "${1:-}" = --after-npm ]; then
  # npm has just installed: remember for which lock, and build the addon if that is possible now.
  # A missing compiler is no reason to fail npm: the first start asks for it.
  if [ -d node_modules/oxlint ]; then # not after an install without development packages
    cp package-lock.json "$temp" && mv -f "$temp" "$lockStamp"
  fi
  case " $missing " in
    *' g++ '* | *' libc6-dev '*) say 'no C++ compiler: the first start builds the addon' ;;
    *) ! stale_addon || build_addon "$temp" ;;
  esac
  exit 0
fi
[ -z "$missing" ] || install_packages
! stale_npm || install_npm "$temp"
! stale_addon || build_addon "$temp"
! stale_dist || build_dist "$temp"
