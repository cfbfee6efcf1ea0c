# shellcheck shell=bash
# Builds of the daemon that tests need beside the ordinary one: one whose workers take orders, for the tests that attack
# it from inside a worker; and one of a later version, for the tests that upgrade to it and go back.

build_variants() {
  build_variant orders
  build_variant next
  # They have taken its place.
  cargo build --quiet --bin proxyd
}

# Builds the daemon with a feature, with the cache of the other programs.
build_variant() {
  local feature=$1
  local target=${CARGO_TARGET_DIR:-$repository/target}
  local program=$target/$feature/proxyd
  cargo build --quiet --features "$feature" --bin proxyd
  # Not written into the file, which a test may be running.
  install -D "$target/debug/proxyd" "$program"
  export "PROXYD_${feature^^}_BINARY=$program"
}
