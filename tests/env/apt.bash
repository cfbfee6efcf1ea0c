# shellcheck shell=bash
# An apt of our own: it reads suites that the machine's does not, and shares no file with it but the
# settings for reaching archives and the keys to trust. It downloads, and installs nothing.

# Prints the addresses of the Debian archives among the machine's sources. Third parties and the
# security archive have no unstable suite.
debian_archives() {
  # shellcheck disable=SC2016  # These are words of apt, not of the shell.
  apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' | grep -E '/debian/?$' | sort -u
}

# Prints the address and the suite of each source of the machine that is Debian's, security included.
debian_suites() {
  # shellcheck disable=SC2016
  apt-get indextargets --format '$(REPO_URI) $(RELEASE)' 'Created-By: Packages' |
    grep -E '/debian(-security)?/? ' | sort -u
}

# Makes an apt in the folder $1 that knows the suites on standard input, one a line as debian_suites
# prints them, with their sources when $2 is `sources`.
make_apt() {
  local own=$1 keyring archive suite
  rm -rf "$own"
  mkdir -p "$own/lists/partial" "$own/cache/archives/partial" "$own/dpkg"
  # An empty list of installed packages makes apt fetch every dependency.
  : >"$own/dpkg/status"
  keyring=$(find /usr/share/keyrings -name 'debian-archive-keyring.*' 2>/dev/null | sort | tail -n 1)
  while read -r archive suite; do
    echo "deb ${keyring:+[signed-by=$keyring]} $archive $suite main"
    [[ ${2-} != sources ]] || echo "deb-src ${keyring:+[signed-by=$keyring]} $archive $suite main"
  done >"$own/sources.list"
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
  APT_CONFIG=$own/apt.conf timeout 300 apt-get update --error-on=any </dev/null
}

# Downloads packages and every package that they need.
download() {
  local own=$1
  shift
  rm -f "$own"/cache/archives/*.deb
  APT_CONFIG=$own/apt.conf timeout 600 apt-get install -y --download-only "$@" </dev/null
}

# Downloads packages without what they need, beside those that are there.
download_alone() {
  local own=$1
  shift
  (cd "$own/cache/archives" && APT_CONFIG=$own/apt.conf timeout 600 apt-get download "$@" </dev/null)
}

# Downloads the newest source of the package $2 that can be had into the folder $3: not every archive
# that lists the sources of the security suites has them.
download_source() {
  local own=$1 package=$2 folder=$3 newest
  mkdir -p "$folder"
  while read -r newest; do
    (cd "$folder" && APT_CONFIG=$own/apt.conf timeout 600 \
      apt-get source --download-only "$package=$newest" </dev/null) && return
  done < <(APT_CONFIG=$own/apt.conf apt-cache showsrc "$package" | sed -n 's/^Version: //p' | sort -Vru)
  return 1
}

# Unpacks the packages that were downloaded last into the folder $2.
unpack_packages() {
  local own=$1 root=$2 package
  for package in "$own"/cache/archives/*.deb; do
    dpkg-deb -x "$package" "$root" || return
  done
  chmod -R a+rX "$root"
}

# Prints what is missing to have an apt of our own, or nothing.
missing_for_apt() {
  local tool
  for tool in apt-get apt-config dpkg-deb; do
    if ! has "$tool"; then
      printf 'it comes from Debian'"'"'s archive, and there is no %s here\n' "$tool"
      return
    fi
  done
}

# Whether the folder $1 was made by the script $2 as it is now.
is_made_by() {
  [[ -e $1/version && -e $1/made-by && $(<"$1/made-by") = "$(cksum <"$2")" ]]
}
