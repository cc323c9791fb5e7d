#!/usr/bin/env bash
# The README's first command and the fast tests where they were promised to work. Without arguments: everywhere.
#   bookworm trixie sid   bare Debian systems, each with its own Python; needs root and debootstrap
#   lowest newest         this machine's Python, the lowest and the newest versions that pyproject.toml allows
# The systems are kept in $PLATFORMS and used again; the checkout in them is new each time.
set -euo pipefail
cd "$(dirname "$0")/.."
platforms=${PLATFORMS:-/var/tmp/runbook-platforms}
fast="tests/parameters tests/sandbox/test_process.py tests/sections/test_tenant_level.py tests/records/test_journal.py
  tests/test_did_pool.py tests/test_plan.py tests/test_secret.py tests/test_sip_uri.py"
# $$ is the shell's own; the sandbox would outlive it.
work="make demo && make ready-for-tests && .venv/bin/python -m pytest $(echo $fast); status=\$?; .venv/bin/runbook sandbox --stop; exit \$status"

copy() { # the files of this checkout, new, in a folder
  rm -rf "$1"
  mkdir -p "$1"
  git ls-files -z | xargs -0 cp --parents -t "$1"
}

debian() { # a bare system of a suite, with the names and certificates of this machine
  local system=$platforms/$1 mirror
  if [ ! -e "$system/.complete" ]; then
    rm -rf "$system"
    mkdir -p "$platforms"
    mirror=$(apt-get indextargets --format '$(SITE)' 'Created-By: Packages' | grep -m 1 '/debian$')
    debootstrap --variant=minbase --include=python3,python3-venv,make,ca-certificates "$1" "$system" "$mirror" \
      >"$platforms/$1.log" 2>&1 || { tail -n 20 "$platforms/$1.log" >&2; return 1; }
    touch "$system/.complete"
  fi
  echo "127.0.0.1 localhost" >"$system/etc/hosts"
  cp /etc/resolv.conf "$system/etc/resolv.conf"
  cp /etc/ssl/certs/ca-certificates.crt "$system/etc/ssl/certs/ca-certificates.crt"
  copy "$system/srv/runbook"
  chroot "$system" python3 --version
  unshare --mount --pid --fork bash -euc '
    mount -t proc proc "$1/proc"
    mount --rbind /dev "$1/dev"
    exec env -u PIP_FIND_LINKS HOME=/root LC_ALL=C.UTF-8 chroot "$1" sh -c "cd /srv/runbook && $2"
  ' bash "$system" "$work"
}

versions() { # the lowest or the newest versions, as pins of a copy of this checkout
  local folder=$platforms/$1
  copy "$folder"
  if [ "$1" = lowest ]; then
    python3 -m venv --clear "$folder/.uv"
    "$folder/.uv/bin/python" -m pip install -q uv
    "$folder/.uv/bin/uv" pip compile -q --resolution lowest-direct --extra test --python-version 3.11 \
      "$folder/pyproject.toml" -o "$folder/constraints.txt"
  else
    : >"$folder/constraints.txt"
  fi
  (cd "$folder" && sh -c "$work")
}

failed=()
[ $# -gt 0 ] || set -- bookworm trixie sid lowest newest
for name in "$@"; do
  echo "== $name"
  case $name in
    lowest | newest) (versions "$name") ;;
    *) (debian "$name") ;;
  esac && echo "== $name: passed" || { echo "== $name: FAILED"; failed+=("$name"); }
done
[ ${#failed[@]} -eq 0 ] || { echo "Failed: ${failed[*]}" >&2; exit 1; }
