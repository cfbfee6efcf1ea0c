# shellcheck shell=bash
# Starts the database servers that the tests talk to, each in a folder of its own that is thrown away
# afterwards, and tells the tests where they are.

# Empty until there is one.
run_folder=
postgres_bin=
declare -A version port socket pid
own_port=
servers=()

# Fills `servers` and `version` with what can be started on this machine.
find_servers() {
  if has mariadbd && has mariadb-install-db && has mariadb; then
    servers+=(mariadb)
    version[mariadb]=$(mariadbd --no-defaults --version | sed -nE 's/.* Ver ([0-9.]+).*/\1/p')
    if [[ -e $mariadb_suite/version ]]; then
      servers+=(mariadb_suite)
      version[mariadb_suite]=${version[mariadb]}
    fi
  else
    skip 'MariaDB is not installed'
  fi
  if [[ -e $mysql_home/version ]]; then
    servers+=(mysql)
    version[mysql]=$(<"$mysql_home/version")
  fi
  if [[ -e $mariadb_newer_home/version ]]; then
    servers+=(mariadb_newer)
    version[mariadb_newer]=$(<"$mariadb_newer_home/version")
  fi
  postgres_bin=$(postgres_programs)
  if [[ -n $postgres_bin ]]; then
    servers+=(postgres)
    version[postgres]=$("$postgres_bin/postgres" --version | sed -nE 's/[^0-9]*([0-9.]+).*/\1/p')
  else
    skip 'PostgreSQL is not installed'
  fi
  if [[ -e $postgres_newer_home/version ]]; then
    servers+=(postgres_newer)
    version[postgres_newer]=$(<"$postgres_newer_home/version")
  fi
  if ((${#servers[@]} > 0)) && ! has openssl; then
    skip 'the servers need certificates, and openssl is not installed'
    servers=()
  fi
}

report_found() {
  local name found=()
  for name in "${servers[@]}"; do
    [[ $name = *_suite ]] || found+=("${name%_newer} ${version[$name]}")
  done
  found+=("${drivers[@]}")
  local IFS=,
  say "found ${found[*]:-no server}" | sed 's/,/, /g'
}

# Makes what every run shares: the certificates, and a new data folder for each server.
prepare_servers() {
  ((${#servers[@]} > 0)) || return 0
  make_certificates
  local name
  for name in "${servers[@]}"; do
    prepare_data "$name"
  done
}

# Prints the user that the server $1 runs as. The workers of proxyd are `nobody`, so that the servers
# must be someone else, and they refuse to be root.
server_user() {
  local user=mysql
  [[ $1 != postgres* ]] || user=postgres
  if ((EUID != 0)); then
    id -un
  elif id -u "$user" >/dev/null 2>&1; then
    echo "$user"
  else
    echo daemon
  fi
}

# Runs a program as the user of the server $1, and ends it when this script dies without a chance to.
as_server() {
  local user
  user=$(server_user "$1")
  shift
  if ((EUID == 0)); then
    exec setpriv --reuid="$user" --regid="$(id -g "$user")" --clear-groups --pdeathsig=KILL "$@"
  else
    exec setpriv --pdeathsig=KILL "$@"
  fi
}

make_certificates() {
  local pki=$cache/pki log=$cache/pki.log
  if [[ -e $pki/server.pem ]] && openssl x509 -in "$pki/server.pem" -checkend 86400 -noout >/dev/null; then
    return
  fi
  rm -rf "$pki"
  mkdir -p "$pki"
  cat >"$pki/openssl.cnf" <<'END'
[req]
distinguished_name = subject
prompt = no
[subject]
CN = proxyd test database CA
[ca]
basicConstraints = critical, CA:TRUE
keyUsage = critical, keyCertSign, cRLSign
subjectKeyIdentifier = hash
[server]
basicConstraints = critical, CA:FALSE
keyUsage = critical, digitalSignature
extendedKeyUsage = serverAuth
subjectAltName = DNS:localhost, IP:127.0.0.1
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
END
  (
    cd "$pki"
    umask 077
    openssl ecparam -name prime256v1 -genkey -noout -out ca-key.pem
    openssl req -x509 -new -config openssl.cnf -extensions ca -key ca-key.pem -days 3650 -out ca.pem
    openssl ecparam -name prime256v1 -genkey -noout -out server-key.pem
    openssl req -new -config openssl.cnf -subj /CN=localhost -key server-key.pem -out server.csr
    openssl x509 -req -in server.csr -CA ca.pem -CAkey ca-key.pem -CAcreateserial -days 365 \
      -extfile openssl.cnf -extensions server -out server.pem.new
    mv server.pem.new server.pem
  ) >"$log" 2>&1 || die "cannot make certificates; what openssl said is in $log"
}

# Prints where the unused data folder of the server $1 is kept. The name changes with all that makes
# the data what it is.
kept_data() {
  printf '%s/data/%s-%s-%s\n' "$cache" "$1" "${version[$1]}" \
    "$(cksum <"${BASH_SOURCE[0]}" | cut -d ' ' -f 1)"
}

make_run_folder() {
  [[ -z $run_folder ]] || return 0
  # Not below TMPDIR, which may be closed to other users or too long for a socket's address.
  run_folder=$(mktemp -d /tmp/proxyd-tests.XXXXXX)
  chmod 755 "$run_folder"
  cp "$cache/pki/ca.pem" "$run_folder/ca.pem"
  chmod 644 "$run_folder/ca.pem"
}

# Makes the folder that the server $1 may write to, with its certificate.
make_server_folder() {
  local folder=$run_folder/$1
  mkdir -p "$folder"
  cp "$cache/pki/server.pem" "$cache/pki/server-key.pem" "$folder"
  chmod 600 "$folder/server-key.pem"
  chmod 755 "$folder"
}

give_to_server() {
  ((EUID != 0)) || chown -R "$(server_user "$1"):" "$run_folder/$1"
}

prepare_data() {
  local name=$1 kept
  kept=$(kept_data "$name")
  [[ ! -d $kept ]] || return 0
  make_run_folder
  make_server_folder "$name"
  give_to_server "$name"
  local log=$cache/$name-init.log
  say "making a data folder for $name ${version[$name]}"
  ("initialise_$name" "$run_folder/$name/data") >"$log" 2>&1 </dev/null ||
    die "cannot make a data folder for $name; what it said is in $log"
  mkdir -p "$cache/data"
  rm -rf "$cache/data/$name"-*
  mv "$run_folder/$name/data" "$kept"
  rm -rf "${run_folder:?}/$name"
}

initialise_mariadb() {
  as_server mariadb mariadb-install-db --no-defaults --datadir="$1" --skip-name-resolve \
    --auth-root-authentication-method=normal --skip-test-db --innodb-log-file-size=8M
}

initialise_mariadb_suite() { initialise_mariadb "$1"; }

initialise_mariadb_newer() {
  as_server mariadb "$(reachable "$mariadb_newer_home")/bin/mariadb-install-db" --datadir="$1" \
    --skip-name-resolve --auth-root-authentication-method=normal --skip-test-db \
    --innodb-log-file-size=8M
}

initialise_mysql() {
  as_server mysql "$(reachable "$mysql_home")/bin/mysqld" --datadir="$1" --initialize-insecure
}

initialise_postgres() { initialise_cluster "$1" "$postgres_bin"; }

initialise_postgres_newer() { initialise_cluster "$1" "$(reachable "$postgres_newer_home")/bin"; }

# Makes the cluster $1 with the programs in $2.
initialise_cluster() {
  local password=${1%/*}/password
  echo scram-pw >"$password"
  chmod 644 "$password"
  (as_server postgres "$2/initdb" --pgdata="$1" --username=scram --pwfile="$password" \
    --auth=scram-sha-256 --encoding=UTF8 --locale=C.UTF-8 --no-sync)
  cat >"$1/pg_hba.conf" <<'END'
local    all  by_md5                     md5
host     all  by_md5       127.0.0.1/32  md5
local    all  by_password                password
host     all  by_password  127.0.0.1/32  password
local    all  all                        scram-sha-256
hostssl  all  all          127.0.0.1/32  scram-sha-256
host     all  all          127.0.0.1/32  scram-sha-256
END
  echo 'CREATE DATABASE test;' | as_server postgres "$2/postgres" --single -D "$1" postgres
}

# Prints where the folder $1 is for servers: their users must reach what they read, and the folder that
# the repository is in may be closed.
reachable() {
  local home=$1
  if ! (as_server mysql test -r "$home/version"); then
    home=$run_folder/${1##*/}
    # A hard link costs nothing, where the two folders are on one file system.
    [[ -d $home ]] || cp -a --link "$1" "$home" 2>/dev/null || cp -a "$1/." "$home"
  fi
  echo "$home"
}

start_servers() {
  ((${#servers[@]} > 0)) || return 0
  make_run_folder
  local name
  for name in "${servers[@]}"; do
    make_server_folder "$name"
    cp -a --reflink=auto "$(kept_data "$name")" "$run_folder/$name/data"
    "accounts_$name" >"$run_folder/$name/accounts.sql"
    give_to_server "$name"
    launch "$name"
  done
  for name in "${servers[@]}"; do
    await "$name"
    export_server "$name"
  done
  export PROXYD_TEST_CA=$run_folder/ca.pem
  export PROXYD_TEST_REQUIRE=${servers[*]}
  export_drivers
  export_suites
}

# Prints a loopback port below those that the kernel hands out for outgoing connections, and where
# nobody listens now.
free_port() {
  local candidate
  while true; do
    candidate=$((20000 + RANDOM % 10000))
    if ! (: <"/dev/tcp/127.0.0.1/$candidate") 2>/dev/null; then
      echo "$candidate"
      return
    fi
  done
}

launch() {
  local name=$1
  port[$name]=$(free_port)
  [[ $name != mysql ]] || own_port=$(free_port)
  socket[$name]=$run_folder/$name/socket
  [[ $name != postgres* ]] || socket[$name]=$run_folder/$name/.s.PGSQL.${port[$name]}
  settle_mysql "$run_folder/$name" "${port[$name]}"
  "run_$name" "$run_folder/$name" "${port[$name]}" >"$run_folder/$name/log" 2>&1 </dev/null &
  pid[$name]=$!
  # Otherwise bash reports how it ended.
  disown
}

accounts_mariadb() {
  cat <<'END'
CREATE DATABASE IF NOT EXISTS test;
CREATE USER IF NOT EXISTS 'native'@'%' IDENTIFIED VIA mysql_native_password USING PASSWORD('native-pw');
GRANT ALL ON *.* TO 'native'@'%' WITH GRANT OPTION;
END
}

# The server's own tests are root, without a password.
accounts_mariadb_suite() {
  cat <<'END'
CREATE DATABASE IF NOT EXISTS test;
CREATE DATABASE IF NOT EXISTS mtr;
CREATE USER IF NOT EXISTS 'root'@'127.0.0.1';
GRANT ALL ON *.* TO 'root'@'127.0.0.1' WITH GRANT OPTION;
END
}

# As their own server is, but for what it reads from their folders.
run_mariadb_suite() {
  as_server mariadb mariadbd --no-defaults "${mysql_settings[@]}" --character-set-server=latin1 \
    --collation-server=latin1_swedish_ci --default-storage-engine=myisam \
    --use-stat-tables=preferably --histogram-type=json_hb --log-bin-trust-function-creators=1 \
    --key-buffer-size=1M --sort-buffer-size=256K --max-heap-table-size=1M --local-infile \
    --connect-timeout=60 --max-connections=151 --max-allowed-packet=16M \
    --innodb-buffer-pool-size=8M --innodb-log-file-size=10M --default-time-zone=+3:00 \
    --binlog-direct-non-transactional-updates
}

accounts_mariadb_newer() { accounts_mariadb; }

run_mariadb() {
  local plugins=()
  if [[ -e $mariadb_suite/version ]]; then
    plugins=(--plugin-dir="$(reachable "$mariadb_suite")/root/usr/lib/mysql/plugin"
      --plugin-load-add=auth_ed25519)
  fi
  as_server mariadb mariadbd --no-defaults "${plugins[@]}" "${mariadb_settings[@]}" \
    "${mysql_settings[@]}"
}

run_mariadb_newer() {
  as_server mariadb "$(reachable "$mariadb_newer_home")/bin/mariadbd" \
    --plugin-load-add='auth_ed25519;auth_parsec;auth_mysql_sha2' "${mariadb_settings[@]}" \
    "${mysql_settings[@]}"
}

accounts_mysql() {
  cat <<'END'
CREATE DATABASE IF NOT EXISTS test;
CREATE USER IF NOT EXISTS 'sha2'@'%' IDENTIFIED WITH caching_sha2_password BY 'sha2-pw';
GRANT ALL ON *.* TO 'sha2'@'%' WITH GRANT OPTION;
END
}

# Its second port is for administrators, and shows the certificates that MySQL made by itself.
run_mysql() {
  as_server mysql "$(reachable "$mysql_home")/bin/mysqld" --mysqlx=OFF --skip-log-bin \
    --secure-file-priv=NULL --performance-schema=OFF --admin-address=127.0.0.1 \
    --admin-port="$own_port" --admin-ssl-ca=ca.pem --admin-ssl-cert=server-cert.pem \
    --admin-ssl-key=server-key.pem "${mysql_settings[@]}"
}

mariadb_settings=(--innodb-log-file-size=8M)

# Fills `mysql_settings` for the server in the folder $1 at the port $2.
settle_mysql() {
  mysql_settings=(--datadir="$1/data" --init-file="$1/accounts.sql" --bind-address=127.0.0.1
    --port="$2" --socket="$1/socket" --pid-file="$1/pid" --ssl-ca="$run_folder/ca.pem"
    --ssl-cert="$1/server.pem" --ssl-key="$1/server-key.pem" --max-connections=500
    --max-allowed-packet=64M --skip-name-resolve --innodb-buffer-pool-size=64M
    --innodb-flush-log-at-trx-commit=0)
}

accounts_postgres() { :; }

accounts_postgres_newer() { :; }

run_postgres() { run_cluster "$postgres_bin" "$@"; }

run_postgres_newer() { run_cluster "$(reachable "$postgres_newer_home")/bin" "$@"; }

run_cluster() {
  as_server postgres "$1/postgres" -D "$2/data" -p "$3" -k "$2" \
    -c listen_addresses=127.0.0.1 -c max_connections=500 -c fsync=off -c wal_level=logical \
    -c ssl=on -c ssl_cert_file="$2/server.pem" -c ssl_key_file="$2/server-key.pem"
}

# Prints the program of the server $1; fails where tests start none of their own.
program_of() {
  case $1 in
    mariadb) command -v mariadbd ;;
    mariadb_newer) echo "$(reachable "$mariadb_newer_home")/bin/mariadbd" ;;
    mysql) echo "$(reachable "$mysql_home")/bin/mysqld" ;;
    *) return 1 ;;
  esac
}

# Prints the command line client of the server $1.
client_of() {
  case $1 in
    mariadb | mariadb_suite) command -v mariadb ;;
    mariadb_newer) echo "$mariadb_newer_home/bin/mariadb" ;;
    mysql) echo "$mysql_home/bin/mysql" ;;
    postgres) echo "$postgres_bin/psql" ;;
    postgres_newer) echo "$postgres_newer_home/bin/psql" ;;
  esac
}

# Succeeds once the server $1 lets its user in.
answers() {
  local client
  client=$(client_of "$1")
  case $1 in
    mariadb_suite)
      "$client" --no-defaults --socket="${socket[$1]}" --user=root --execute='SELECT 1' mtr
      ;;
    mariadb*)
      MYSQL_PWD=native-pw "$client" --no-defaults --socket="${socket[$1]}" --user=native \
        --execute='SELECT 1' test
      ;;
    mysql)
      MYSQL_PWD=sha2-pw "$client" --socket="${socket[$1]}" --user=sha2 --execute='SELECT 1' test
      ;;
    postgres*)
      PGPASSWORD=scram-pw "$client" -X -w -h "$run_folder/$1" -p "${port[$1]}" -U scram -d test \
        -c 'SELECT 1'
      ;;
  esac >/dev/null 2>&1 </dev/null
}

# Waits until the server $1 serves. Someone may take its port between the look and the start, so that
# a server which ends at once gets another.
await() {
  local name=$1 tries=3 deadline=$((SECONDS + 60))
  until answers "$name"; do
    if ! kill -0 "${pid[$name]}" 2>/dev/null; then
      ((--tries > 0)) || server_failed "$name" 'does not start'
      launch "$name"
    fi
    ((SECONDS < deadline)) || server_failed "$name" 'does not answer'
    sleep 0.1
  done
}

server_failed() {
  tail -n 20 "$run_folder/$1/log" >&2
  die "$1 ${version[$1]} $2"
}

export_server() {
  local name=$1 prefix=PROXYD_TEST_${1^^}
  export "${prefix}_PORT=${port[$name]}" "${prefix}_SOCKET=${socket[$name]}" \
    "${prefix}_VERSION=${version[$name]}" "${prefix}_CLIENT=$(client_of "$name")"
  # For tests that start one of their own.
  local program
  if program=$(program_of "$name"); then
    export "${prefix}_SERVER=$program" "${prefix}_DATA=$(kept_data "$name")"
  fi
  [[ $name != mysql ]] || export "${prefix}_OWN_PORT=$own_port" \
    "${prefix}_OWN_CA=$run_folder/mysql/data/ca.pem"
}

# Nothing that the servers hold is worth a slow ending.
stop_servers() {
  local name
  for name in "${!pid[@]}"; do
    local signal=KILL
    # This one would leave its children behind, and ends them itself when told to quit.
    [[ $name != postgres* ]] || signal=QUIT
    kill -"$signal" "${pid[$name]}" 2>/dev/null || true
  done
  for name in "${!pid[@]}"; do
    local deadline=$((SECONDS + 10))
    while kill -0 "${pid[$name]}" 2>/dev/null && ((SECONDS < deadline)); do
      sleep 0.02
    done
    kill -KILL "${pid[$name]}" 2>/dev/null || true
  done
  pid=()
  [[ -z $run_folder ]] || rm -rf "$run_folder"
  run_folder=
}
