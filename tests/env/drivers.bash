# shellcheck shell=bash
# Makes a Python with the two database drivers that most Python programs use.

python_home=$cache/python

make_python() {
  [[ ! -e $python_home/ready ]] || return 0
  if ! has python3; then
    skip 'the Python drivers need python3'
    return
  fi
  local log=$cache/python.log
  say 'installing the Python drivers'
  rm -rf "$python_home"
  if python3 -m venv "$python_home" >"$log" 2>&1 &&
    "$python_home/bin/python" -m pip install --disable-pip-version-check --retries 1 \
      'PyMySQL[rsa]' cryptography 'psycopg[binary]' >>"$log" 2>&1 </dev/null; then
    "$python_home/bin/python" -c 'import platform; print(platform.python_version())' \
      >"$python_home/ready"
  else
    rm -rf "$python_home"
    skip "the Python drivers cannot be installed; more is in $log"
  fi
}
