package cmd

import (
	"fmt"
	"io"
	"strings"

	"github.com/alecthomas/kong"
)

type completionCommand struct {
	Shell string `arg:"" enum:"bash,zsh,fish" help:"bash, zsh or fish."`
}

// Help completes --help.
func (completionCommand) Help() string {
	return `Examples:

    source <(tailfold completion bash)
    tailfold completion fish > ~/.config/fish/completions/tailfold.fish`
}

// Run prints the script of a shell, made from the commands and flags that this program has.
func (c completionCommand) Run(app *App) error {
	program := describe(app)
	switch c.Shell {
	case "bash":
		program.bash(app.Stdout)
	case "zsh":
		program.zsh(app.Stdout)
	case "fish":
		program.fish(app.Stdout)
	}
	return nil
}

type described struct {
	name     string
	commands []describedCommand
}

type describedCommand struct {
	name, help string
	flags      []*kong.Flag
	choices    []string // of its first argument
}

func describe(app *App) described {
	d := described{name: app.Name}
	for _, node := range app.model.Children {
		if node.Hidden {
			continue
		}
		c := describedCommand{name: node.Name, help: node.Help}
		for _, group := range node.AllFlags(true) {
			c.flags = append(c.flags, group...)
		}
		if len(node.Positional) > 0 && node.Positional[0].Tag.Enum != "" {
			c.choices = strings.Split(node.Positional[0].Tag.Enum, ",")
		}
		d.commands = append(d.commands, c)
	}
	return d
}

// function is the program's name as part of a shell function's.
func (d described) function() string {
	return "_" + strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' {
			return r
		}
		return '_'
	}, d.name)
}

func (d described) names() []string {
	var names []string
	for _, c := range d.commands {
		names = append(names, c.name)
	}
	return names
}

func (d described) bash(w io.Writer) {
	fmt.Fprintf(w, "%s() {\n  local cur=${COMP_WORDS[COMP_CWORD]} words=\n  COMPREPLY=()\n", d.function())
	fmt.Fprintf(w, "  if [ \"$COMP_CWORD\" -eq 1 ]; then\n    words=%q\n  else\n    case ${COMP_WORDS[1]} in\n",
		strings.Join(d.names(), " "))
	for _, c := range d.commands {
		words := append([]string{}, c.choices...)
		for _, f := range c.flags {
			words = append(words, "--"+f.Name)
		}
		fmt.Fprintf(w, "      %s) words=%q ;;\n", c.name, strings.Join(words, " "))
	}
	fmt.Fprintf(w, "    esac\n  fi\n  COMPREPLY=($(compgen -W \"$words\" -- \"$cur\"))\n}\ncomplete -o default -F "+
		"%s %s\n", d.function(), d.name)
}

func (d described) zsh(w io.Writer) {
	fmt.Fprintf(w, "#compdef %s\n%s() {\n  local -a commands flags\n  commands=(\n", d.name, d.function())
	for _, c := range d.commands {
		fmt.Fprintf(w, "    %s\n", quoteShell(c.name+":"+c.help))
	}
	fmt.Fprint(w, "  )\n  if (( CURRENT == 2 )); then\n    _describe command commands\n    return\n  fi\n  case "+
		"${words[2]} in\n")
	for _, c := range d.commands {
		fmt.Fprintf(w, "    %s) flags=(%s)", c.name, strings.Join(c.choices, " "))
		for _, f := range c.flags {
			fmt.Fprintf(w, " flags+=(%s)", quoteShell("--"+f.Name+":"+strings.ReplaceAll(f.Help, ":", "\\:")))
		}
		fmt.Fprint(w, " ;;\n")
	}
	fmt.Fprintf(w, "  esac\n  _describe flag flags\n  _files\n}\ncompdef %s %s\n", d.function(), d.name)
}

func (d described) fish(w io.Writer) {
	fmt.Fprintf(w, "complete -c %s -n __fish_use_subcommand -f\n", d.name)
	for _, c := range d.commands {
		fmt.Fprintf(w, "complete -c %s -n __fish_use_subcommand -a %s -d %s\n", d.name, c.name, quoteShell(c.help))
		when := quoteShell("__fish_seen_subcommand_from " + c.name)
		if len(c.choices) > 0 {
			fmt.Fprintf(w, "complete -c %s -n %s -f -a %s\n", d.name, when, quoteShell(strings.Join(c.choices, " ")))
		}
		for _, f := range c.flags {
			short, argument := "", ""
			if f.Short != 0 {
				short = " -s " + string(f.Short)
			}
			if !f.IsBool() {
				argument = " -r"
			}
			fmt.Fprintf(w, "complete -c %s -n %s -l %s%s%s -d %s\n", d.name, when, f.Name, short, argument,
				quoteShell(f.Help))
		}
	}
}

func quoteShell(text string) string { return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'" }
