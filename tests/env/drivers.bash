# shellcheck shell=bash
# Gets the drivers by which programs reach databases: Python's, Node.js' and Rust's.
#
# Their versions are written down in tests/drivers, so that a test fails for what changed here and not
# for what changed there.

python_home=$cache/python
node_home=$cache/node
rust_home=$cache/rust-drivers
# What was found, for people to read.
drivers=()

get_drivers() {
  make_python
  make_node
  make_rust
}

# Whether the folder $1 was made from the list $2 as it is now.
is_made_from() {
  [[ -e $1/ready && $(<"$1/ready") = "$(cksum <"$2")" ]]
}

make_python() {
  local list=tests/drivers/python/requirements.txt log=$cache/python.log
  if ! has python3; then
    skip 'the Python drivers need python3'
    return
  fi
  if ! is_made_from "$python_home" "$list"; then
    say 'installing the Python drivers'
    rm -rf "$python_home"
    if ! python3 -m venv "$python_home" >"$log" 2>&1; then
      rm -rf "$python_home"
      skip "the Python drivers need a virtual environment; more is in $log"
      return
    fi
    install_python_drivers "$list" "$log"
    cksum <"$list" >"$python_home/ready"
  fi
  local driver
  while read -r driver; do
    drivers+=("$driver")
  done <"$python_home/installed"
}

# Installs what the list $1 names, one after another: a driver that must be compiled may fail alone.
install_python_drivers() {
  local wanted
  : >"$python_home/installed"
  while read -r wanted; do
    if "$python_home/bin/python" -m pip install --disable-pip-version-check --retries 1 \
      "$wanted" >>"$2" 2>&1 </dev/null; then
      printf '%s\n' "$wanted" | sed 's/\[.*\]//; s/==/ /' >>"$python_home/installed"
    else
      skip "the Python driver $wanted cannot be installed; more is in $2"
    fi
  done < <(grep -v '^#' "$1")
}

make_node() {
  local list=tests/drivers/node/package.json log=$cache/node.log
  if ! has node || ! has npm; then
    skip 'the drivers for Node.js need node and npm'
    return
  fi
  if ! is_made_from "$node_home" "$list"; then
    say 'installing the drivers for Node.js'
    rm -rf "$node_home"
    mkdir -p "$node_home"
    cp "$list" "$node_home/package.json"
    if ! (cd "$node_home" && npm install --no-audit --no-fund --ignore-scripts --no-package-lock \
      --no-update-notifier) >"$log" 2>&1 </dev/null; then
      rm -rf "$node_home"
      skip "the drivers for Node.js cannot be installed; more is in $log"
      return
    fi
    cksum <"$list" >"$node_home/ready"
  fi
  # A script looks for the drivers beside itself.
  rm -rf "$node_home/scripts"
  cp -r tests/drivers/node "$node_home/scripts"
  drivers+=("Node.js $(node --version | tr -d v) with drivers")
}

# They are a crate of their own, so that neither proxyd's dependencies nor its builds know of them.
make_rust() {
  local log=$cache/rust-drivers.log
  say 'building the Rust drivers'
  if cargo build --locked --quiet --manifest-path tests/drivers/rust/Cargo.toml \
    --target-dir "$rust_home" >"$log" 2>&1 </dev/null; then
    drivers+=('Rust drivers')
  else
    skip "the Rust drivers cannot be built; more is in $log"
    rm -rf "$rust_home/debug/rust-drivers"
  fi
}

export_drivers() {
  if [[ -e $python_home/ready ]]; then
    export PROXYD_TEST_PYTHON=$python_home/bin/python
    PROXYD_TEST_REQUIRE+=' python'
  fi
  if [[ -e $node_home/ready ]]; then
    export PROXYD_TEST_NODE_MODULES=$node_home/node_modules
    PROXYD_TEST_REQUIRE+=' node'
  fi
  if has sysbench; then
    PROXYD_TEST_SYSBENCH=$(command -v sysbench)
    export PROXYD_TEST_SYSBENCH
    PROXYD_TEST_REQUIRE+=' sysbench'
  else
    skip 'sysbench is not installed'
  fi
  if [[ -e $rust_home/debug/drivers ]]; then
    export PROXYD_TEST_RUST_DRIVERS=$rust_home/debug/drivers
    PROXYD_TEST_REQUIRE+=' rust-drivers'
  fi
}
