# shellcheck shell=bash
# Gets what the machine's own Debian does not have: MySQL 9, and a MariaDB and a PostgreSQL that are
# newer than the machine's.
#
# The packages of Debian's unstable suite are unpacked beside the system with every library they need,
# the C library included, and run by the dynamic loader among them. So nothing on the machine changes,
# and neither a chroot nor root's rights are needed.

mysql_home=$cache/mysql
mariadb_newer_home=$cache/mariadb-newer
postgres_newer_home=$cache/postgres-newer
unstable_apt=$cache/unstable-apt

# Leaves a file `version` and the folders `bin` and `root` in each of the homes above, or says why it
# could not.
fetch_unstable() {
  fetch_newer "$mysql_home" 'MySQL 9' mysql
  fetch_newer "$mariadb_newer_home" 'a newer MariaDB' mariadb_newer
  fetch_newer "$postgres_newer_home" 'a newer PostgreSQL' postgres_newer
  rm -rf "$unstable_apt"
}

# Gets what is called $2 into the home $1, by `download_$3`, `unpacked_$3` and `version_of_$3`.
fetch_newer() {
  local home=$1 called=$2 name=$3 reason log=$1.log
  ! is_made_by "$home" "${BASH_SOURCE[0]}" || return 0
  reason=$(missing_for_apt)
  if [[ -n $reason ]]; then
    skip "$called: $reason"
    return
  fi
  rm -rf "$home"
  mkdir -p "$home/bin" "$home/root"
  say "fetching $called"
  if reason=$(get_newer "$home" "$name" 2>"$log") && reason=$("version_of_$name" 2>>"$log"); then
    cksum <"${BASH_SOURCE[0]}" >"$home/made-by"
    printf '%s\n' "$reason" >"$home/version"
  else
    rm -rf "$home"
    skip "$called: ${reason:-it does not run here}; more is in $log"
  fi
}

# Prints the reason when it fails.
get_newer() {
  local home=$1 name=$2
  if ! unstable_is_known >&2; then
    echo 'no Debian archive that apt knows has an unstable suite to read'
  elif ! "download_$name" >&2; then
    echo "the archive has no such packages for $(dpkg --print-architecture)"
  elif ! unpack_packages "$unstable_apt" "$home/root" >&2 || ! "unpacked_$name" >&2; then
    echo 'the packages cannot be unpacked'
  else
    return 0
  fi
  return 1
}

# Reads the unstable suite of the first archive that has one, once.
unstable_is_known() {
  local archive
  [[ ! -e $unstable_apt/known ]] || return 0
  while read -r archive; do
    if make_apt "$unstable_apt" <<<"$archive unstable"; then
      touch "$unstable_apt/known"
      return
    fi
  done < <(debian_archives)
  return 1
}

# Takes out what no test reads: Perl and systemd come along for scripts, the rest is for people.
slim() {
  rm -rf "$1"/usr/share/{doc,info,locale,man,perl} "$1"/usr/lib/*/{gconv,perl,perl-base} \
    "$1"/usr/lib/systemd
}

# Puts a script in the place of each program $2... in the root $1, which runs it with the libraries that
# came with it, wherever the folder is.
wrap_programs() {
  local root=$1 program up
  shift
  for program in "$@"; do
    mv "$root/$program" "$root/$program.program" || return
    up=$(dirname "$program" | sed 's,[^/]\+,..,g')
    cat >"$root/$program" <<END
#!/bin/sh
folder=\$(cd -P "\$(dirname "\$0")" && pwd)
root=\$(cd -P "\$folder/$up" && pwd)
libraries=\$(echo "\$root"/usr/lib/*-linux-*)
exec "\$(echo "\$libraries"/ld-linux*.so.*)" --argv0 "\$folder/${program##*/}" \\
  --library-path "\$libraries" "\$folder/${program##*/}.program" "\$@"
END
    chmod 755 "$root/$program"
  done
}

# Writes the script $2 into the folder `bin` of the home $1: it runs the program $3 of the root with the
# settings that follow, in which \$root stands for that root.
write_starter() {
  local home=$1 script=$1/bin/$2 program=$3 settings=
  shift 3
  (($# == 0)) || printf -v settings ' \\\n  %s' "$@"
  cat >"$script" <<END
#!/bin/sh
root=\$(cd "\$(dirname "\$0")/../root" && pwd)
exec "\$root/$program"$settings "\$@"
END
  chmod 755 "$script"
}

# === MySQL ===

download_mysql() { download "$unstable_apt" mysql-server-core mysql-client-core; }

unpacked_mysql() {
  slim "$mysql_home/root"
  wrap_programs "$mysql_home/root" usr/sbin/mysqld usr/bin/mysql || return
  # shellcheck disable=SC2016  # The script itself is to put its folder in.
  write_starter "$mysql_home" mysqld usr/sbin/mysqld --no-defaults \
    '--plugin-dir="$root/usr/lib/mysql/plugin"' '--basedir="$root/usr"' \
    '--lc-messages-dir="$root/usr/share/mysql"' \
    '--character-sets-dir="$root/usr/share/mysql/charsets"'
  # shellcheck disable=SC2016
  write_starter "$mysql_home" mysql usr/bin/mysql --no-defaults \
    '--plugin-dir="$root/usr/lib/mysql/plugin"'
}

version_of_mysql() {
  "$mysql_home/bin/mysql" --version >&2 &&
    "$mysql_home/bin/mysqld" --version | sed -nE 's/.* Ver ([0-9.]+).*/\1/p' | grep .
}

# === MariaDB ===

# The plugins are in the package that would start the server as a service and needs much for it.
download_mariadb_newer() {
  download "$unstable_apt" mariadb-server-core mariadb-client-core &&
    download_alone "$unstable_apt" mariadb-server
}

unpacked_mariadb_newer() {
  local root=$mariadb_newer_home/root
  slim "$root"
  wrap_programs "$root" usr/sbin/mariadbd usr/bin/mariadb usr/bin/my_print_defaults \
    usr/bin/resolveip || return
  # shellcheck disable=SC2016  # The script itself is to put its folder in.
  write_starter "$mariadb_newer_home" mariadbd usr/sbin/mariadbd --no-defaults \
    '--plugin-dir="$root/usr/lib/mysql/plugin"' '--basedir="$root/usr"' \
    '--lc-messages-dir="$root/usr/share/mysql"' \
    '--character-sets-dir="$root/usr/share/mysql/charsets"'
  # The client's plugins go by a variable, since `--no-defaults` must come first.
  cat >"$mariadb_newer_home/bin/mariadb" <<'END'
#!/bin/sh
root=$(cd "$(dirname "$0")/../root" && pwd)
MARIADB_PLUGIN_DIR=$(echo "$root"/usr/lib/*-linux-*/libmariadb3/plugin) \
  exec "$root/usr/bin/mariadb" "$@"
END
  chmod 755 "$mariadb_newer_home/bin/mariadb"
  # shellcheck disable=SC2016
  write_starter "$mariadb_newer_home" mariadb-install-db usr/bin/mariadb-install-db --no-defaults \
    '--basedir="$root/usr"'
}

version_of_mariadb_newer() {
  "$mariadb_newer_home/bin/mariadb" --version >&2 &&
    "$mariadb_newer_home/bin/mariadbd" --version | sed -nE 's/.* Ver ([0-9.]+).*/\1/p' | grep .
}

# === PostgreSQL ===

# The newest that the archive has: the package of no version depends on it.
download_postgres_newer() { download "$unstable_apt" postgresql; }

# PostgreSQL's programs find each other and their files by their own places.
unpacked_postgres_newer() {
  local root=$postgres_newer_home/root programs
  slim "$root"
  programs=$(cd "$root" && printf '%s\n' usr/lib/postgresql/*/bin | sort -V | tail -n 1)
  wrap_programs "$root" "$programs"/{postgres,initdb,psql} || return
  rmdir "$postgres_newer_home/bin"
  ln -s "root/$programs" "$postgres_newer_home/bin"
}

version_of_postgres_newer() {
  "$postgres_newer_home/bin/psql" --version >&2 &&
    "$postgres_newer_home/bin/postgres" --version | sed -nE 's/[^0-9]*([0-9.]+).*/\1/p' | grep .
}
