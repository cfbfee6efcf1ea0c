# shellcheck shell=bash
# Gets the servers' own regression tests, and the plugins that Debian ships with them: all that belongs
# to the servers which the machine's Debian has.

mariadb_suite=$cache/mariadb-suite
postgres_suite=$cache/postgres-suite
suites_apt=$cache/suites-apt

fetch_suites() {
  fetch_suite "$mariadb_suite" "MariaDB's own tests" mariadb
  fetch_suite "$postgres_suite" "PostgreSQL's own tests" postgres
  rm -rf "$suites_apt"
}

# Gets what is called $2 into the folder $1, by `get_$3_suite`.
fetch_suite() {
  local folder=$1 called=$2 name=$3 reason log=$1.log
  ! is_made_by "$folder" "${BASH_SOURCE[0]}" || return 0
  reason=$(missing_for_apt)
  if [[ -n $reason ]]; then
    skip "$called: $reason"
    return
  fi
  rm -rf "$folder"
  mkdir -p "$folder"
  say "fetching $called"
  if reason=$(suites_are_known >&2 || echo 'the machine has no source that is Debian'"'"'s') &&
    [[ -z $reason ]] && reason=$("get_${name}_suite" 2>"$log"); then
    cksum <"${BASH_SOURCE[0]}" >"$folder/made-by"
    printf '%s\n' "$reason" >"$folder/version"
  else
    rm -rf "$folder"
    skip "$called: ${reason:-they cannot be fetched}; more is in $log"
  fi
}

# Reads the machine's own suites, with their sources, once.
suites_are_known() {
  [[ ! -e $suites_apt/known ]] || return 0
  debian_suites | make_apt "$suites_apt" sources >"$cache/suites-apt.log" 2>&1 &&
    touch "$suites_apt/known"
}

# Prints the version, or the reason when it fails.
get_mariadb_suite() {
  rm -f "$suites_apt"/cache/archives/*.deb
  if ! download_alone "$suites_apt" mariadb-server mariadb-test mariadb-test-data \
    libpcre2-posix3 >&2; then
    echo 'the archive has no such packages'
    return 1
  fi
  unpack_packages "$suites_apt" "$mariadb_suite/root" >&2 &&
    link_mariadb_programs >&2 &&
    dpkg-deb -f "$suites_apt"/cache/archives/mariadb-test_*.deb Version
}

# The tests look for the programs and what those read in the folder that they are in themselves.
link_mariadb_programs() {
  local program folder
  for folder in /usr/share/mysql/*; do
    ln -sn "$folder" "$mariadb_suite/root/usr/share/mysql/" 2>/dev/null || true
  done
  for folder in bin sbin; do
    mkdir -p "$mariadb_suite/root/usr/$folder"
    for program in /usr/"$folder"/{mariadb,mysql,my_,perror,replace,resolveip}*; do
      [[ ! -x $program ]] || ln -sfn "$program" "$mariadb_suite/root/usr/$folder/"
    done
  done
}

# Prints the version, or the reason when it fails. Debian ships the program that runs the tests, and
# the tests in the server's source.
get_postgres_suite() {
  local programs major headers
  programs=$(postgres_programs)
  major=$(basename "$(dirname "$programs")")
  # What is compiled with newer headers may ask for what this server does not have.
  headers=postgresql-server-dev-$major=$(dpkg-query -W -f '${Version}' "postgresql-$major")
  if [[ ! -x ${programs%/bin}/lib/pgxs/src/test/regress/pg_regress ]]; then
    echo "this PostgreSQL comes without pg_regress"
    return 1
  fi
  rm -f "$suites_apt"/cache/archives/*.deb
  if ! download_source "$suites_apt" "postgresql-$major" "$postgres_suite/source" >&2 ||
    ! download_alone "$suites_apt" "$headers" >&2; then
    echo "the archive has no source of postgresql-$major, or no $headers"
    return 1
  fi
  tar -xaf "$postgres_suite"/source/*.orig.tar.* -C "$postgres_suite" --strip-components=3 \
    --wildcards '*/src/test/regress' >&2 &&
    unpack_packages "$suites_apt" "$postgres_suite/root" >&2 &&
    compile_postgres_suite "$major" >&2 &&
    rm -rf "$postgres_suite/source" "$postgres_suite/root" &&
    basename "$(dirname "$programs")"
}

# Some of the tests' functions are in C.
compile_postgres_suite() {
  cc -O1 -fPIC -shared -w -I "$postgres_suite/root/usr/include/postgresql/$1/server" \
    -I /usr/include/postgresql -o "$postgres_suite/regress/regress.so" \
    "$postgres_suite/regress/regress.c"
}

export_suites() {
  if [[ -e $mariadb_suite/version && -n ${port[mariadb_suite]-} ]]; then
    PROXYD_TEST_MARIADB_TESTS=$(reachable "$mariadb_suite")/root/usr/share/mysql/mysql-test
    export PROXYD_TEST_MARIADB_TESTS
    PROXYD_TEST_REQUIRE+=' mariadb-tests'
  fi
  if [[ -e $postgres_suite/version && -n ${port[postgres]-} ]]; then
    PROXYD_TEST_POSTGRES_TESTS=$(reachable "$postgres_suite")/regress
    export PROXYD_TEST_POSTGRES_TESTS
    PROXYD_TEST_REQUIRE+=' postgres-tests'
  fi
}
