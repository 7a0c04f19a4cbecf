#!/bin/sh
# Makes sure that the programs which the tests start are here. Installs them when it may (root, on Debian), and says
# what to install otherwise. Does nothing, quickly, when nothing is missing. With the argument "clusters", also what
# make test-clusters starts.
set -eu

# Where servers are, which is not in everybody's PATH. The test kit looks in the same folders.
PATH="$PATH:/usr/sbin:/usr/local/sbin:/opt/homebrew/bin"

# Succeeds if one of the programs is here.
have() {
	for program in "$@"; do
		command -v "$program" >/dev/null 2>&1 && return
	done
	return 1
}

# Sets packages to Debian's names of what is missing.
look() {
	packages=
	if [ "$with" = clusters ]; then
		galera=
		for library in /usr/lib/galera /usr/lib/galera-4 /usr/lib64/galera-4; do
			[ ! -e "$library/libgalera_smm.so" ] || galera=here
		done
		[ -n "$galera" ] || packages="$packages galera-4"
		{ have rsync && have lsof ss; } || packages="$packages rsync lsof"
	fi
	{ have mariadbd && have mariadb-install-db; } || packages="$packages mariadb-server"
	have redis-server || packages="$packages redis-server"
	have nginx || packages="$packages nginx-light"
	have chromium chromium-browser google-chrome || packages="$packages chromium fonts-dejavu-core"
	# What makes password hashes to import.
	have argon2 || packages="$packages argon2"
	have mkpasswd || packages="$packages whois"
	have htpasswd || packages="$packages apache2-utils"
	# What runs the blocks of the documents, as their readers do.
	have zsh || packages="$packages zsh"
	have curl || packages="$packages curl"
	have openssl || packages="$packages openssl"
	have node nodejs || packages="$packages nodejs"
	have npm || packages="$packages npm"
	# protoc without what every proto file may import is of no use, and Debian has that in another package.
	protoc --descriptor_set_out=/dev/null google/protobuf/descriptor.proto 2>/dev/null ||
		packages="$packages protobuf-compiler libprotobuf-dev"
	# The race detector needs cgo, and cgo a C compiler.
	have "${CC:-cc}" || packages="$packages gcc libc6-dev"
}

with=${1-}
look
[ -n "$packages" ] || exit 0

if [ "$(id -u)" != 0 ] || ! have apt-get; then
	echo "The tests need these programs. Please install (Debian's names):$packages" >&2
	exit 1
fi

# The tests start the servers themselves: keep the packages from starting them on their standard ports. A policy that the
# machine has already is its owner's, and decides instead.
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
	trap 'rm -f "$policy"' EXIT
	trap 'exit 129' HUP # A signal alone would end the shell without the line above.
	trap 'exit 130' INT
	trap 'exit 143' TERM
	printf '#!/bin/sh\nexit 101\n' >"$policy"
	chmod 755 "$policy"
fi

install_packages() {
	apt-get update -qq || return
	# shellcheck disable=SC2086 # the packages are words
	DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $packages
}

echo "Installing for the tests:$packages" >&2
install_packages >&2 || install_packages >&2

look
if [ -n "$packages" ]; then
	echo "Installed, but still without the programs of:$packages" >&2
	exit 1
fi
