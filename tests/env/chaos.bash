# shellcheck shell=bash
# Every fault at random, for as long as is asked for: docs/chaos.md.

readonly chaos_test=chaos::chaos_refuses_no_client_loses_no_session_and_shows_no_wrong_certificate

# Runs the test with its output shown; the options say how.
run_chaos() {
  export PROXYD_CHAOS_SUMMARY=$repository/target/chaos.md
  [[ ${1-} != -- ]] || shift
  while (($# > 0)); do
    (($# > 1)) || die "$1 needs a value"
    case $1 in
      --minutes) export PROXYD_CHAOS_MINUTES=$2 ;;
      --seed) export PROXYD_CHAOS_SEED=$2 ;;
      --only) export PROXYD_CHAOS_ONLY=$2 ;;
      --without) export PROXYD_CHAOS_WITHOUT=$2 ;;
      --summary) export PROXYD_CHAOS_SUMMARY=$2 ;;
      *) die "chaos has no option $1" ;;
    esac
    shift 2
  done
  cargo test --test it "$chaos_test" -- --exact --nocapture
}
