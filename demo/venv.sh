# shellcheck shell=bash
# What demo/start and tests/run share; sourced by both. Finds what this machine lacks, installs it as far as it may,
# and keeps .venv equal to requirements.lock. Speaks on stderr only. Sets: root, venv.

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
venv=$root/.venv
missing=()

say() { printf '%s\n' "$*" >&2; }

have() { command -v "$1" >/dev/null 2>&1; }

# need PACKAGE COMMAND...: notes the Debian package when the command fails.
need() {
  local package=$1
  shift
  "$@" >/dev/null 2>&1 || missing+=("$package")
}

# The first Python that is new enough; nothing and status 1 when there is none.
find_python() {
  local candidate
  for candidate in python3 python3.14 python3.13 python3.12 python3.11; do
    if have "$candidate" && "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
      printf '%s\n' "$candidate"
      return 0
    fi
  done
  return 1
}

python_can() {
  local python
  python=$(find_python) && "$python" -c "$1"
}

# libvirt-python is built here, from source, against this machine's libvirt: hence the compiler and the headers.
need_for_venv() {
  need python3 find_python
  need python3-venv python_can 'import ensurepip, venv'
  need python3-dev python_can 'import os, sys, sysconfig
sys.exit(not os.path.exists(os.path.join(sysconfig.get_path("include"), "Python.h")))'
  need gcc have gcc
  need libc6-dev test -e /usr/include/stdio.h -o -n "${IN_NIX_SHELL:-}"
  need pkg-config have pkg-config
  need libvirt-dev pkg-config --exists libvirt
}

# provide required|wanted: installs what `need` noted, where it may. What is required and cannot be installed ends
# the script with the command that would; what is only wanted is named, and the script goes on.
provide() {
  local failed=0
  [ ${#missing[@]} -gt 0 ] || return 0
  if have apt-get && [ "$(id -u)" = 0 ]; then
    say "Installing ${missing[*]}"
    export DEBIAN_FRONTEND=noninteractive
    # A source that does not answer need not be the one that has these packages: the install decides.
    apt-get -qq -o DPkg::Lock::Timeout=300 update >/dev/null </dev/null || say "apt-get update failed; going on with what is known"
    apt-get -qq -y -o DPkg::Lock::Timeout=300 install --no-install-recommends \
      "${missing[@]}" >/dev/null </dev/null || failed=1
  else
    failed=1
  fi
  if [ $failed = 1 ]; then
    if have apt-get; then
      say "Missing here. Install it with:  sudo apt-get install ${missing[*]}"
    else
      say "Missing here. Install what your system calls (Debian's names): ${missing[*]}"
    fi
    if [ "$1" = required ]; then
      say "Then run the same command again."
      exit 1
    fi
  fi
  missing=()
}

# On NixOS the compiler and the libraries exist only inside a shell: start over in one.
enter_nix_shell() {
  [ -e /etc/NIXOS ] && [ -z "${IN_NIX_SHELL:-}" ] || return 0
  exec nix-shell "$root/nix/shell.nix" --run "$(printf '%q ' "$@")"
}

# What .venv must have been made from: the lock, the project's metadata, and the place (scripts hold absolute paths).
venv_key() {
  { cat "$root/requirements.lock" "$root/pyproject.toml" && printf '%s\n' "$venv"; } | sha256sum | cut -d ' ' -f 1
}

venv_is_current() {
  [ "$(cat "$venv/quarterdeck.key" 2>/dev/null)" = "$1" ] && [ -x "$venv/bin/qd" ] &&
    "$venv/bin/python" -c 'import libvirtmod' 2>/dev/null
}

# One at a time: two scripts started together would step on each other's feet. Every step is checked by hand, since
# `set -e` does not hold inside a function whose result is asked for.
build_venv() {
  local key=$1
  flock 9 || return 1
  venv_is_current "$key" && return 0
  say "Making the Python environment $venv (a minute at most)"
  rm -f "$venv/quarterdeck.key"
  # Kept when it still works, so that whoever uses it just now is not left without; else made anew.
  "$venv/bin/python" -c 'import pip' 2>/dev/null || "$(find_python)" -m venv --clear "$venv" || return 1
  "$venv/bin/python" -m pip --disable-pip-version-check --no-input install -q --require-hashes \
    -r "$root/requirements.lock" || return 1
  "$venv/bin/python" -m pip --disable-pip-version-check --no-input install -q --no-deps --no-build-isolation \
    --no-index -e "$root" || return 1
  printf '%s\n' "$key" >"$venv/quarterdeck.key"
}

# After this .venv has the locked versions and this checkout. Quick when it already does.
make_venv() {
  local key
  key=$(venv_key)
  venv_is_current "$key" || need_for_venv
  provide required
  venv_is_current "$key" && return 0
  if ! find_python >/dev/null; then
    say "Python 3.11 or newer is needed and is not here (python3 is $(python3 --version 2>&1))."
    exit 1
  fi
  if ! (build_venv "$key") 9<"$root" >&2 </dev/null; then
    say "The Python environment could not be made: the reason stands above. It needs PyPI once."
    exit 1
  fi
}
