import { join } from 'node:path';
import { ROOT } from '../root.js';
import type { Shell } from './completion.js';

/** This installation, by absolute paths: what the words at the prompt are called by does not matter. */
const ASK = `'${process.execPath}' '${join(ROOT, 'dist', 'host', 'cli', 'main.js')}' complete --`;

/** Each hands over what has been typed up to the cursor, and does with the last line of the answer what completions.ts says. */
const SCRIPTS: Readonly<Record<Shell, string>> = {
  bash: `_postern() {
  local line current="\${COMP_WORDS[COMP_CWORD]}"
  COMPREPLY=()
  while IFS= read -r line; do
    case "$line" in
      :files)
        compopt -o filenames 2>/dev/null
        while IFS= read -r line; do COMPREPLY+=("$line"); done < <(compgen -f -- "$current") ;;
      :commands)
        while IFS= read -r line; do COMPREPLY+=("$line"); done < <(compgen -c -- "$current") ;;
      :none) ;;
      *)
        line="\${line%%$'\\t'*}"
        COMPREPLY+=("\${line#=}") ;;
    esac
  done < <(${ASK} "\${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null)
}
complete -F _postern postern
`,
  zsh: `_postern() {
  local line value
  local -a candidates
  for line in "\${(@f)$(${ASK} "\${(@)words[2,CURRENT]}" 2>/dev/null)}"; do
    case "$line" in
      :files) _files ;;
      :commands) _command_names -e ;;
      :none) ;;
      *)
        value="\${line%%$'\\t'*}"
        candidates+=("\${value//:/\\\\:}:\${line#*$'\\t'}") ;;
    esac
  done
  (( \${#candidates} )) && _describe postern candidates
}
compdef _postern postern
`,
  fish: `function __postern_complete
  set -l words (commandline -opc) (commandline -ct)
  for line in (${ASK} $words[2..] 2>/dev/null)
    switch $line
      case :files
        __fish_complete_path (commandline -ct)
      case :commands
        __fish_complete_command
      case :none
      case '*'
        echo -- $line
    end
  end
end
complete -c postern -f -a '(__postern_complete)'
`,
};

/** The script that has a shell complete `postern`. */
export function completionScript(shell: Shell): string {
  return SCRIPTS[shell];
}
