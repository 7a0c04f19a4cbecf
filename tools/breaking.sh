#!/bin/sh
# Fails when api/ breaks what api/ on main promised. Usage: tools/breaking.sh BUF
set -eu

buf=$1
against=build/against

# Finds main in a clone, in a checkout of one commit, and in one that knows only the remote's main.
find_main() {
	for ref in refs/remotes/origin/main refs/heads/main; do
		git rev-parse --quiet --verify "$ref^{commit}" && return
	done
	git fetch --quiet --depth=2 origin main && git rev-parse --verify 'FETCH_HEAD^{commit}'
}

base=$(find_main) || {
	echo 'buf breaking: there is no branch main to compare with, neither here nor at the remote origin' >&2
	exit 1
}

# On main itself there is no difference to main: what counts is what its last commit brought.
if git diff --quiet "$base" -- api; then
	if [ "$(git rev-parse --is-shallow-repository)" = true ]; then
		git fetch --quiet --deepen=1 origin main || true # Without it, see the next line.
	fi
	if ! base=$(git rev-parse --quiet --verify "$base^"); then
		echo 'buf breaking: api/ is that of main, and no commit before it is here: nothing to compare with'
		exit 0
	fi
fi

if ! git cat-file -e "$base:api" 2>/dev/null; then
	echo "buf breaking: $base has no api/ yet, so nothing can break"
	exit 0
fi

# The old contract and what it imported then, by today's rules.
rm -rf "$against"
mkdir -p "$against"
git archive "$base" api internal/protoimports go.mod go.sum | tar -x -C "$against"
(cd "$against" && go run ./internal/protoimports imports)
cp build/workspace/buf.yaml "$against/"
"$buf" breaking build/workspace --against "$against"
