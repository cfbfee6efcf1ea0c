# shellcheck shell=bash
# Makes ready what the tests of the container image and of its example for Kubernetes need:
# podman with a store of its own, and an image to build in. Images of others cannot be fetched, so that one is made of
# the Debian that tests boot.

containers_home=$cache/containers
schemas_home=$cache/kubernetes
builder_image=localhost/proxyd-builder

# Leaves in the home above the file `version` and the program `podman`, which runs podman as the tests need it, or
# says why it could not.
make_containers() {
  local reason log=$containers_home.log
  reason=$(missing_for_containers)
  if [[ -z $reason ]]; then
    set_up_podman
    if is_made_by "$containers_home" "${BASH_SOURCE[0]}" && runs_containers >"$log" 2>&1; then
      remove_left_containers >>"$log" 2>&1 || say "containers of earlier tests stay; more is in $log"
      return
    fi
    say 'making an image to build in'
    rm -rf "$containers_home"
    set_up_podman
    if make_builder >"$log" 2>&1 && runs_containers >>"$log" 2>&1; then
      podman --version | sed 's/.* //' >"$containers_home/version"
      cksum <"${BASH_SOURCE[0]}" >"$containers_home/made-by"
      return
    fi
    reason="podman does not run here; more is in $log"
  fi
  rm -rf "$containers_home"
  skip "tests of the container image: $reason"
}

# Prints what is missing, or nothing.
missing_for_containers() {
  local tool
  if [[ ! -e $systemd_home/version ]]; then
    echo 'the image is built in the Debian that tests boot, and there is none'
    return
  fi
  for tool in podman runc strip; do
    has "$tool" || {
      echo "there is no $tool here"
      return
    }
  done
}

# Writes the settings anew each time, because limits may not be raised above those of this shell.
set_up_podman() {
  mkdir -p "$containers_home"
  cat >"$containers_home/containers.conf" <<END
[containers]
default_ulimits = ["nofile=$(ulimit -Hn):$(ulimit -Hn)", "nproc=1000:1000"]
log_driver = "k8s-file"

[engine]
cgroup_manager = "cgroupfs"
events_logger = "none"
runtime = "runc"
END
  cat >"$containers_home/podman" <<END
#!/bin/sh
CONTAINERS_CONF='$containers_home/containers.conf' exec podman --root '$containers_home/store' \\
  --runroot '$containers_home/run' --storage-driver overlay "\$@"
END
  chmod 755 "$containers_home/podman"
}

# Takes what a build needs out of the Debian: a shell, its tools, and the C library.
make_builder() {
  tar -C "$systemd_home/root" --exclude='./usr/share/*' --exclude='./usr/lib/systemd/*' --exclude='./var/*' -c . |
    "$containers_home/podman" import - "$builder_image"
}

runs_containers() {
  timeout 60 "$containers_home/podman" run --rm --network none --memory 100m "$builder_image" true
}

# Removes what tests have left that were killed.
remove_left_containers() {
  local left
  mapfile -t left < <("$containers_home/podman" ps --all --quiet --filter until=1h)
  ((${#left[@]} == 0)) || "$containers_home/podman" rm --force --volumes --time 0 "${left[@]}"
}

# Leaves a file `ready` and Python's programs in the home of the schemas.
make_schemas() {
  local list=tests/drivers/kubernetes/requirements.txt log=$schemas_home.log
  ! is_made_from "$schemas_home" "$list" || return 0
  say 'fetching the schemas of Kubernetes'
  rm -rf "$schemas_home"
  if python3 -m venv "$schemas_home" >"$log" 2>&1 && "$schemas_home/bin/python" -m pip install \
    --disable-pip-version-check --retries 1 -r "$list" >>"$log" 2>&1 </dev/null; then
    cksum <"$list" >"$schemas_home/ready"
  else
    rm -rf "$schemas_home"
    skip "the schemas of Kubernetes cannot be had; more is in $log"
  fi
}

export_containers() {
  if [[ -e $containers_home/version ]]; then
    export PROXYD_TEST_PODMAN=$containers_home/podman
    PROXYD_TEST_REQUIRE+=' podman'
  fi
  if [[ -e $schemas_home/ready ]]; then
    export PROXYD_TEST_KUBERNETES=$schemas_home/bin/python
    PROXYD_TEST_REQUIRE+=' kubernetes'
  fi
}
