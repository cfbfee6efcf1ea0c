# shellcheck shell=bash
# Gets AppArmor's parser, by which a test checks the syntax of the example profile. It is unpacked and not installed: an
# AppArmor that is installed begins to confine the machine's own programs.

apparmor_home=$cache/apparmor

# Leaves a file `version` and the folder `root` in the home above, or says why it could not.
get_apparmor() {
  ! is_made_by "$apparmor_home" "${BASH_SOURCE[0]}" || return 0
  local reason log=$apparmor_home.log
  reason=$(missing_for_apt)
  if [[ -n $reason ]]; then
    skip "AppArmor's parser: $reason"
    return
  fi
  say "fetching AppArmor's parser"
  rm -rf "$apparmor_home"
  mkdir -p "$apparmor_home"
  if unpack_apparmor >"$log" 2>&1; then
    cksum <"${BASH_SOURCE[0]}" >"$apparmor_home/made-by"
  else
    rm -rf "$apparmor_home"
    skip "AppArmor's parser: the machine's apt cannot get it; more is in $log"
  fi
}

unpack_apparmor() {
  local root=$apparmor_home/root
  (cd "$apparmor_home" && timeout 120 apt-get download apparmor </dev/null) &&
    dpkg-deb -x "$apparmor_home"/apparmor_*.deb "$root" &&
    "$root/sbin/apparmor_parser" --version | sed -nE 's/.* version ([0-9.]+).*/\1/p' \
      >"$apparmor_home/version"
}

export_apparmor() {
  [[ -e $apparmor_home/version ]] || return 0
  export PROXYD_TEST_APPARMOR=$apparmor_home/root
  export PROXYD_TEST_REQUIRE="${PROXYD_TEST_REQUIRE-} apparmor"
}
