package daemon

import (
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// The other programs use cobra. Here it would be a fiftieth of the size that the
// daemon may have (DESIGN 11), for a handful of commands; what follows reads the
// same command lines and shows the same help.

// flagRow is one flag: its value goes to text, or it has none and sets on.
type flagRow struct {
	name    string
	letter  byte   // its short form; 0: none
	twin    string // the environment variable that stands for it; empty: none
	text    *string
	on      *bool
	meaning string
}

// set takes over the value that stands in the same word, or behind it.
func (f flagRow) set(value string) error {
	if f.text != nil {
		*f.text = value
		return nil
	}
	on, err := strconv.ParseBool(value)
	if err != nil {
		return fmt.Errorf("invalid argument %q for %q flag: %w", value, "--"+f.name, errors.Unwrap(err))
	}
	*f.on = on
	return nil
}

// isFlag reports whether a word is a flag: a lone dash is not.
func isFlag(word string) bool { return len(word) > 1 && word[0] == '-' }

// findFlag finds the flag of a word, with the value that the word gives it; nil if
// there is none.
func findFlag(flags []flagRow, word string) (found *flagRow, value string, hasValue bool) {
	name, value, hasValue := strings.Cut(word, "=")
	for i := range flags {
		flag := &flags[i]
		if name == "--"+flag.name || flag.letter != 0 && name == "-"+string(rune(flag.letter)) {
			return flag, value, hasValue
		}
	}
	return nil, "", false
}

// chooseCommand takes the command out of the words: the first that is neither a
// flag nor the value of one. Without any it is the program's own row, the first.
func chooseCommand(commands []command, flags []flagRow, args []string) (*command, []string) {
	for at := 0; at < len(args) && args[at] != "--"; at++ {
		word := args[at]
		if isFlag(word) {
			if flag, _, hasValue := findFlag(flags, word); flag != nil && flag.text != nil && !hasValue {
				at++
			}
			continue
		}
		if chosen := findCommand(commands, word); chosen != nil && word != "" {
			return chosen, append(append([]string(nil), args[:at]...), args[at+1:]...)
		}
		break
	}
	return &commands[0], args
}

// findCommand finds the command of a name; nil if there is none.
func findCommand(commands []command, name string) *command {
	for i := range commands {
		if commands[i].name == name {
			return &commands[i]
		}
	}
	return nil
}

// parseFlags sets the flags among the words, up to "--", and gives the others.
func parseFlags(flags []flagRow, args []string) (words []string, err error) {
	for at := 0; at < len(args); at++ {
		word := args[at]
		if word == "--" {
			return append(words, args[at+1:]...), nil
		}
		if !isFlag(word) {
			words = append(words, word)
			continue
		}
		flag, value, hasValue := findFlag(flags, word)
		switch {
		case flag == nil:
			name, _, _ := strings.Cut(word, "=")
			return nil, fmt.Errorf("unknown flag: %s", name)
		case hasValue:
		case flag.on != nil:
			value = "true"
		case at+1 == len(args):
			return nil, fmt.Errorf("flag needs an argument: %s", word)
		default:
			at++
			value = args[at]
		}
		if err := flag.set(value); err != nil {
			return nil, err
		}
	}
	return words, nil
}

// path is the command as it is typed.
func (c *command) path() string { return strings.TrimSpace("prlagentd " + c.name) }

// printHelp shows what a command does.
func (i *invocation) printHelp(c *command) error {
	var help strings.Builder
	long := c.long
	if long == "" {
		long = c.short
	}
	usage := strings.TrimSpace(c.path() + " " + c.argument)
	fmt.Fprintf(&help, "%s\n\nUsage:\n  %s [flags]\n", long, usage)
	if c.name == "" {
		help.WriteString("  prlagentd [command]\n")
	}
	if c.example != "" {
		fmt.Fprintf(&help, "\nExamples:\n%s\n", c.example)
	}
	if c.name == "" {
		help.WriteString("\nAvailable Commands:\n")
		commands := i.commands()
		for at := range commands[1:] {
			if one := &commands[1+at]; !one.hidden {
				fmt.Fprintf(&help, "  %-11s %s\n", one.name, one.short)
			}
		}
	}
	if len(c.flags) > 0 {
		help.WriteString("\nFlags:\n" + describeFlags(c.flags))
	}
	help.WriteString("\nGlobal Flags:\n" + describeFlags(i.programFlags()))
	if c.name == "" {
		help.WriteString("\nUse \"prlagentd [command] --help\" for more information about a command.\n")
	}
	_, err := io.WriteString(i.stdout, help.String())
	return err
}

// describeFlags gives a line for each flag.
func describeFlags(flags []flagRow) string {
	var lines strings.Builder
	for i := range flags {
		flag := &flags[i]
		letter, value, twin := "    ", "", ""
		if flag.letter != 0 {
			letter = "-" + string(rune(flag.letter)) + ", "
		}
		if flag.text != nil {
			value = " string"
		}
		if flag.twin != "" {
			twin = " ($" + flag.twin + ")"
		}
		fmt.Fprintf(&lines, "  %s--%-18s %s%s\n", letter, flag.name+value, flag.meaning, twin)
	}
	return lines.String()
}
