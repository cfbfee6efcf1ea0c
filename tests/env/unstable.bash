# shellcheck shell=bash
# Gets MySQL 9, which Debian has in its unstable suite only.
#
# The packages are unpacked beside the system with every library they need, the C library included,
# and run by the dynamic loader among them. So nothing on the machine changes, and neither a chroot
# nor root's rights are needed.

mysql_home=$cache/mysql

# Leaves $mysql_home/bin/mysqld and $mysql_home/bin/mysql, or says why it could not.
fetch_mysql() {
  [[ ! -e $mysql_home/version ]] || return 0
  local tool
  for tool in apt-get apt-config dpkg-deb; do
    if ! has "$tool"; then
      skip "MySQL 9 comes from Debian's archive, and there is no $tool here"
      return
    fi
  done
  rm -rf "$mysql_home"
  mkdir -p "$mysql_home"
  say 'fetching MySQL 9'
  local log=$cache/mysql.log reason
  if reason=$(unpack_mysql 2>"$log") && reason=$(mysql_version 2>>"$log"); then
    printf '%s\n' "$reason" >"$mysql_home/version"
    rm -rf "$mysql_home/apt"
  else
    rm -rf "$mysql_home"
    skip "MySQL 9: ${reason:-it does not run here}; more is in $log"
  fi
}

# Prints the reason when it fails.
unpack_mysql() {
  local archive
  while read -r archive; do
    if download_mysql "$archive" >&2; then
      unpack_packages >&2 && return
      echo 'the packages cannot be unpacked'
      return 1
    fi
  done < <(debian_archives)
  echo "no Debian archive that apt knows has it for $(dpkg --print-architecture)"
  return 1
}

# Prints the addresses of the Debian archives among the machine's sources. Third parties and the
# security archive have no unstable suite.
debian_archives() {
  # shellcheck disable=SC2016  # These are words of apt, not of the shell.
  apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' | grep -E '/debian/?$' | sort -u
}

# Downloads the packages from the archive $1 with an apt that shares no file with the machine's own
# but the settings for reaching archives and the keys to trust.
download_mysql() {
  local own=$mysql_home/apt keyring
  rm -rf "$own"
  mkdir -p "$own/lists/partial" "$own/cache/archives/partial" "$own/dpkg"
  # An empty list of installed packages makes apt fetch every dependency.
  : >"$own/dpkg/status"
  keyring=$(find /usr/share/keyrings -name 'debian-archive-keyring.*' 2>/dev/null | sort | tail -n 1)
  echo "deb ${keyring:+[signed-by=$keyring]} $1 unstable main" >"$own/sources.list"
  {
    apt-config dump | grep '^Acquire'
    cat <<END
Acquire::Languages "none";
Acquire::Retries "2";
Acquire::http::Timeout "30";
APT::Install-Recommends "false";
APT::Sandbox::User "root";
Dir::Cache "$own/cache";
Dir::Etc::main "/dev/null";
Dir::Etc::parts "/dev/null";
Dir::Etc::preferences "/dev/null";
Dir::Etc::preferencesparts "/dev/null";
Dir::Etc::sourcelist "$own/sources.list";
Dir::Etc::sourceparts "/dev/null";
Dir::State "$own";
Dir::State::lists "$own/lists";
Dir::State::status "$own/dpkg/status";
END
  } >"$own/apt.conf"
  APT_CONFIG=$own/apt.conf timeout 300 apt-get update --error-on=any </dev/null &&
    APT_CONFIG=$own/apt.conf timeout 600 apt-get install -y --download-only \
      mysql-server-core mysql-client-core </dev/null
}

unpack_packages() {
  local root=$mysql_home/root package
  mkdir -p "$root" "$mysql_home/bin"
  for package in "$mysql_home"/apt/cache/archives/*.deb; do
    dpkg-deb -x "$package" "$root" || return
  done
  # Perl comes along for scripts that no test runs; the rest is for people to read.
  rm -rf "$root"/usr/share/{doc,locale,man,perl} "$root"/usr/lib/*/{gconv,perl,perl-base}
  chmod -R a+rX "$root"
  # shellcheck disable=SC2016  # The script itself is to put its folder in.
  write_starter sbin/mysqld "$mysql_home/bin/mysqld" '--basedir="$root/usr"' \
    '--lc-messages-dir="$root/usr/share/mysql"' \
    '--character-sets-dir="$root/usr/share/mysql/charsets"'
  write_starter bin/mysql "$mysql_home/bin/mysql"
}

# Writes a script $2 that runs usr/$1 with the libraries and the plugins that came with it, and without
# the machine's own settings. It finds all that from its own place, so that the folder can be moved.
write_starter() {
  local program=$1 script=$2 settings=
  shift 2
  (($# == 0)) || printf -v settings ' \\\n  %s' "$@"
  cat >"$script" <<END
#!/bin/sh
root=\$(cd "\$(dirname "\$0")/../root" && pwd)
libraries=\$(echo "\$root"/usr/lib/*-linux-*)
exec "\$(echo "\$libraries"/ld-linux*.so.*)" --argv0 "\$root/usr/$program" \\
  --library-path "\$libraries" "\$root/usr/$program" --no-defaults \\
  --plugin-dir="\$root/usr/lib/mysql/plugin"$settings "\$@"
END
  chmod 755 "$script"
}

mysql_version() {
  "$mysql_home/bin/mysql" --version >&2 &&
    "$mysql_home/bin/mysqld" --version | sed -nE 's/.* Ver ([0-9.]+).*/\1/p' | grep .
}
