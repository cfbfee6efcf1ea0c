# shellcheck shell=bash
# A daemon whose workers take orders, for the tests that attack it from inside a worker.

# Builds it with the cache of the other programs, whose place it takes only until they are built again.
build_orders() {
  local target=${CARGO_TARGET_DIR:-$repository/target}
  local program=$target/orders/proxyd
  cargo build --quiet --features orders --bin proxyd
  # Not written into the file, which a test may be running.
  install -D "$target/debug/proxyd" "$program"
  cargo build --quiet --bin proxyd
  export PROXYD_ORDERS_BINARY=$program
}
