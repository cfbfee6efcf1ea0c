# shellcheck shell=bash
# Finds out which programs the tests need and the machine lacks, and has apt install them.

has() { command -v "$1" >/dev/null 2>&1; }

# Prints the Debian packages that are missing, one a line.
missing_packages() {
  # Only the server itself, without the package that would start it as a service.
  has mariadbd && has mariadb-install-db || echo mariadb-server-core
  has mariadb || echo mariadb-client
  [[ -n $(postgres_programs) ]] || echo postgresql
  has psql || echo postgresql-client
  has openssl || echo openssl
  compgen -G '/usr/lib/*/faketime/libfaketime.so.1' >/dev/null || echo libfaketime
  has cc || echo gcc
  [[ -e /usr/include/stdio.h ]] || echo libc6-dev
  python3 -c 'import venv, ensurepip' >/dev/null 2>&1 || echo python3-venv
  # One of the Python drivers is compiled.
  has mariadb_config || echo libmariadb-dev
  has pkg-config || echo pkg-config
  python3 -c 'import os, sysconfig; os.stat(sysconfig.get_path("include") + "/Python.h")' \
    >/dev/null 2>&1 || echo python3-dev
  has node || echo nodejs
  has chromium || echo chromium
  has chromedriver || echo chromium-driver
  has npm || echo npm
  has sysbench || echo sysbench
  has perl || echo perl
  [[ -e /usr/share/bash-completion/bash_completion ]] || echo bash-completion
  has zsh || echo zsh
  has fish || echo fish
  has man || echo man-db
  has unshare || echo util-linux
  has ip || echo iproute2
  # For promtool, which judges metrics and rules.
  has promtool || echo prometheus
  # Only root can boot another Debian.
  ((EUID != 0)) || missing_for_machines
}

# Prints the packages that are missing to boot a Debian with systemd, to build and check a package for it, and to
# build and run a container image.
missing_for_machines() {
  has mmdebstrap || echo mmdebstrap
  has systemd-nspawn || echo systemd-container
  has dpkg-shlibdeps || echo dpkg-dev
  has lintian || echo lintian
  has podman || echo podman
  has runc || echo runc
  has strip || echo binutils
}

# Prints the folder with the newest PostgreSQL server's programs, or nothing.
postgres_programs() {
  local programs
  for programs in $(printf '%s\n' /usr/lib/postgresql/*/bin | sort -Vr); do
    if [[ -x $programs/postgres && -x $programs/initdb && -x $programs/psql ]]; then
      printf '%s\n' "$programs"
      return
    fi
  done
}

install_packages() {
  local -a missing
  mapfile -t missing < <(missing_packages)
  ((${#missing[@]} > 0)) || return 0

  if ! has apt-get; then
    say "going on without what is missing; Debian has it in: ${missing[*]}"
  elif ((EUID == 0)); then
    install_with "${missing[@]}"
  elif has sudo && sudo -n true 2>/dev/null; then
    install_with "${missing[@]}"
  else
    say "going on without what is missing; install it with: apt-get install ${missing[*]}"
  fi
}

install_with() {
  local log=$cache/apt.log installed=yes
  say "installing ${*}"
  forbid_system_servers
  {
    as_root apt-get update -q &&
      as_root env DEBIAN_FRONTEND=noninteractive \
        apt-get install -q -y --no-install-recommends "$@"
  } >"$log" 2>&1 </dev/null || installed=no
  allow_system_servers
  if [[ $installed = no ]]; then
    tail -n 20 "$log" >&2
    die "could not install ${*}; all that apt said is in $log"
  fi
}

as_root() {
  if ((EUID == 0)); then "$@"; else sudo -n "$@"; fi
}

policy=/usr/sbin/policy-rc.d
cluster=/etc/postgresql-common/createcluster.conf
placed=()

# Installing postgresql makes a cluster and starts it. The tests have no use for either, and the
# machine's owner did not ask for a server.
forbid_system_servers() {
  if [[ ! -e $policy ]]; then
    printf '#!/bin/sh\nexit 101\n' | as_root tee "$policy" >/dev/null
    as_root chmod 755 "$policy"
    placed+=("$policy")
  fi
  if [[ ! -e $cluster ]]; then
    as_root mkdir -p "${cluster%/*}"
    echo 'create_main_cluster = false' | as_root tee "$cluster" >/dev/null
    placed+=("$cluster")
  fi
}

# Takes back what `forbid_system_servers` put in place, so that it also does no harm to be called
# when nothing was.
allow_system_servers() {
  local file
  for file in "${placed[@]}"; do
    as_root rm -f "$file"
  done
  local shipped=/usr/share/postgresql-common/createcluster.conf
  if [[ " ${placed[*]} " == *" $cluster "* && -e $shipped ]]; then
    as_root cp "$shipped" "$cluster"
  fi
  placed=()
}
