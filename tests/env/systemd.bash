# shellcheck shell=bash
# Makes a Debian with systemd, which tests boot beside the machine: proxyd is run by the service manager
# that it is made for, and installed as a package.

systemd_home=$cache/systemd

# Leaves a file `version` and the folder `root` in the home above, or says why it could not. Tests write
# to copies that are thrown away.
make_systemd_root() {
  ! is_made_by "$systemd_home" "${BASH_SOURCE[0]}" || return 0
  local reason log=$systemd_home.log
  reason=$(missing_for_systemd)
  if [[ -n $reason ]]; then
    skip "tests under systemd: $reason"
    return
  fi
  say 'making a Debian with systemd'
  rm -rf "$systemd_home"
  mkdir -p "$systemd_home"
  if bootstrap "$systemd_home/root" >"$log" 2>&1; then
    cksum <"${BASH_SOURCE[0]}" >"$systemd_home/made-by"
    suite_of_machine >"$systemd_home/version"
  else
    rm -rf "$systemd_home"
    skip "tests under systemd: the Debian cannot be made; more is in $log"
  fi
}

# Prints what is missing to make and boot it, or nothing.
missing_for_systemd() {
  if ((EUID != 0)); then
    echo 'only root can boot a Debian'
  elif [[ -z $(suite_of_machine) ]]; then
    echo 'programs that were built here run in a Debian of the same version, and this is none'
  else
    local tool
    for tool in mmdebstrap systemd-nspawn nsenter dpkg-shlibdeps; do
      has "$tool" || {
        echo "there is no $tool here"
        return
      }
    done
  fi
}

# Prints the name of the machine's Debian, or nothing.
suite_of_machine() {
  # shellcheck source=/dev/null
  (. /etc/os-release && [[ ${ID-} != debian ]] || echo "${VERSION_CODENAME-}")
}

# The C library must not be older than the one that the programs were built with, so the sources are
# the machine's own, updates included.
bootstrap() {
  local suite archive release
  suite=$(suite_of_machine)
  while read -r archive release; do
    [[ $release != "$suite"* ]] || echo "deb $archive $release main"
  done < <(debian_suites) |
    timeout 600 mmdebstrap --variant=minbase --include=systemd,systemd-sysv,dbus "$suite" "$1" -
}

export_systemd() {
  [[ -e $systemd_home/version ]] || return 0
  export PROXYD_TEST_SYSTEMD=$systemd_home/root
  export PROXYD_TEST_REQUIRE="${PROXYD_TEST_REQUIRE-} systemd"
}
