// The shells' side of completion: each hands the words to `vitrine complete` and shows what comes back.
//
//     words                  or `files`: the shell completes the name of a file
//     translate<TAB>VA -> every table entry -> GPA ...

/// A shell that can complete command lines.
enum Shell: String, CaseIterable {
    case bash
    case zsh
    case fish

    /// What the shell reads.
    var script: String {
        switch self {
        case .bash: return Shell.bashScript
        case .zsh: return Shell.zshScript
        case .fish: return Shell.fishScript
        }
    }

    private static let bashScript = #"""
        # Completion of vitrine for bash.
        _vitrine() {
            # Words as programs get them: readline has split them at colons and equals signs as well.
            local line=${COMP_LINE:0:COMP_POINT} breaks='' cut='' spaced='' candidate
            local -a words answer
            read -ra words <<<"$line"
            [[ $line == *[[:space:]] ]] && words+=("")
            local current=${words[-1]}
            mapfile -t answer < <("$1" complete -- "${words[@]:1}" 2>/dev/null)
            COMPREPLY=()
            if [[ ${answer[0]} == files ]]; then
                compopt -o filenames 2>/dev/null
                mapfile -t COMPREPLY < <(compgen -f -- "$current")
                return
            fi
            [[ $COMP_WORDBREAKS == *:* ]] && breaks+=:
            [[ $COMP_WORDBREAKS == *=* ]] && breaks+==
            [[ $breaks ]] && cut=${current%"${current##*[$breaks]}"}
            for candidate in "${answer[@]:1}"; do
                candidate=${candidate%%$'\t'*}
                COMPREPLY+=("${candidate#"$cut"}")
                [[ $candidate == *[:/] ]] || spaced=1
            done
            [[ $spaced ]] || compopt -o nospace 2>/dev/null
        }
        complete -F _vitrine vitrine

        """#

    private static let zshScript = #"""
        #compdef vitrine
        # Completion of vitrine for zsh.
        _vitrine() {
            local -a answer whole wholeShown open openShown
            local line word shown
            answer=("${(@f)$(${(Q)words[1]} complete -- "${(@Q)words[2,CURRENT-1]}" "${(Q)PREFIX}" 2>/dev/null)}")
            if [[ $answer[1] == files ]]; then
                _files
                return
            fi
            for line in "${(@)answer[2,-1]}"; do
                word=${line%%$'\t'*}
                shown=$word
                [[ $line == *$'\t'?* ]] && shown="$word -- ${line#*$'\t'}"
                if [[ $word == *[:/] ]]; then
                    open+=("$word")
                    openShown+=("$shown")
                else
                    whole+=("$word")
                    wholeShown+=("$shown")
                fi
            done
            compadd -l -d wholeShown -a whole
            compadd -l -S '' -d openShown -a open
        }
        if [[ $funcstack[1] == _vitrine ]]; then _vitrine "$@"; else compdef _vitrine vitrine; fi

        """#

    private static let fishScript = #"""
        # Completion of vitrine for fish.
        function __vitrine_complete
            set -l words (commandline -opc)
            set -l current (commandline -ct)
            set -l answer ($words[1] complete -- $words[2..-1] "$current" 2>/dev/null)
            if test "$answer[1]" = files
                __fish_complete_path "$current"
            else if test (count $answer) -gt 1
                printf '%s\n' $answer[2..-1]
            end
        end
        complete -c vitrine -f -a '(__vitrine_complete)'

        """#
}
