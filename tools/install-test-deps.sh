#!/bin/sh
# Makes sure that the programs which the tests start are here. Installs them when it may (root, on Debian), and says
# what to install otherwise. Does nothing, quickly, when nothing is missing.
set -eu

PATH="$PATH:/usr/sbin:/usr/local/sbin"

packages=
command -v mariadbd >/dev/null 2>&1 || packages="$packages mariadb-server"
command -v redis-server >/dev/null 2>&1 || packages="$packages redis-server"
command -v chromium >/dev/null 2>&1 || packages="$packages chromium fonts-dejavu-core"
[ -n "$packages" ] || exit 0

if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null 2>&1; then
	echo "The tests start their own MariaDB, Redis and Chromium. Please install (Debian's names):$packages" >&2
	exit 1
fi

# The tests start the servers themselves: keep the packages from starting them on their standard ports.
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
	trap 'rm -f "$policy"' EXIT
	printf '#!/bin/sh\nexit 101\n' >"$policy"
	chmod 755 "$policy"
fi

install() {
	# shellcheck disable=SC2086 # the packages are words
	apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $packages
}

echo "Installing for the tests:$packages" >&2
install >&2 || install >&2
