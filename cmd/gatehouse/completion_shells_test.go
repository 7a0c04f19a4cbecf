//go:build servers

package main

// otherCompleters are those of shells that not every machine has.
var otherCompleters = map[string][]string{
	"zsh": {"zsh", "-f", "-ec", `autoload -Uz compinit; compinit -D; source "$1"; shift
		[[ ${_comps[gatehouse]} == _gatehouse ]]
		compadd() { shift; print -rl -- ${(M)@:#${words[CURRENT]}*} }
		words=("$@"); CURRENT=$#; _gatehouse`, "zsh"},
}
