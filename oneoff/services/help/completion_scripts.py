"""Contain the completion scripts. `@PROGRAM@` is replaced by the program's file name."""

from __future__ import annotations

BASH = r"""# bash completion for @PROGRAM@; load it with: source <(python @PROGRAM@ completion bash)
_oneoff_complete() {
    local count=1
    if [[ ${COMP_WORDS[0]##*/} == python* ]]; then
        [[ ${COMP_WORDS[1]##*/} == @PROGRAM@ ]] || return 0
        count=2
    fi
    (( COMP_CWORD >= count )) || return 0
    local IFS=$'\n'
    COMPREPLY=($("${COMP_WORDS[@]:0:count}" completion candidates -- \
        "${COMP_WORDS[@]:count:COMP_CWORD-count+1}" 2>/dev/null))
}
complete -o bashdefault -o default -F _oneoff_complete \
    @PROGRAM@ ./@PROGRAM@ oneoff admin python python3
"""

ZSH = r"""#compdef @PROGRAM@ oneoff admin
# zsh completion for @PROGRAM@; load it with: source <(python @PROGRAM@ completion zsh)
_oneoff_complete() {
    local count=1
    if [[ ${words[1]:t} == python* ]]; then
        [[ ${words[2]:t} == @PROGRAM@ ]] || { _files; return }
        count=2
    fi
    (( CURRENT > count )) || { _files; return }
    local -a found
    found=("${(@f)$("${(@)words[1,count]}" completion candidates -- \
        "${(@)words[count+1,CURRENT]}" 2>/dev/null)}")
    if [[ -n "${found[1]}" ]]; then
        compadd -- "${found[@]}"
    else
        _files
    fi
}
compdef _oneoff_complete @PROGRAM@ ./@PROGRAM@ oneoff admin python python3
"""

FISH = r"""# fish completion for @PROGRAM@; load it with: python @PROGRAM@ completion fish | source
function __oneoff_complete
    set -l before (commandline -opc)
    set -l current (commandline -ct)
    set -l count 1
    if string match -qr '(^|/)python[0-9.]*$' -- $before[1]
        string match -qr '(^|/)@PROGRAM@$' -- "$before[2]"
        or begin
            __fish_complete_path "$current"
            return
        end
        set count 2
    end
    type -q $before[1]
    or return
    set -l found ($before[1..$count] completion candidates -- \
        $before[(math $count + 1)..-1] "$current" 2>/dev/null)
    if set -q found[1]
        printf '%s\n' $found
    else
        __fish_complete_path "$current"
    end
end
for program in @PROGRAM@ ./@PROGRAM@ oneoff admin python python3
    complete -c $program -f -a '(__oneoff_complete)'
end
"""

SCRIPTS = {"bash": BASH, "zsh": ZSH, "fish": FISH}
