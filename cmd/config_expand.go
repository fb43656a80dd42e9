package cmd

import (
	"fmt"
	"regexp"
	"strings"
)

var variable = regexp.MustCompile(`^([A-Za-z_][A-Za-z0-9_]*)(:-(.*))?$`)

// expand fills in ${VAR} and ${VAR:-default}; the default stands for a variable that is unset or empty. $${ is a
// literal ${, and a $ before anything else is itself.
func expand(text string, env func(string) (string, bool)) (string, error) {
	var b strings.Builder
	for {
		i := strings.Index(text, "${")
		if i < 0 {
			b.WriteString(text)
			return b.String(), nil
		}
		if i > 0 && text[i-1] == '$' {
			b.WriteString(text[:i-1])
			b.WriteString("${")
			text = text[i+2:]
			continue
		}
		end := strings.IndexByte(text[i:], '}')
		if end < 0 {
			return "", fmt.Errorf("a ${ has no }: write ${VAR} or ${VAR:-default}, or $${ for the two characters " +
				"themselves")
		}
		b.WriteString(text[:i])
		inside := text[i+2 : i+end]
		text = text[i+end+1:]
		m := variable.FindStringSubmatch(inside)
		if m == nil {
			return "", fmt.Errorf("${%s} is no variable: write ${VAR} or ${VAR:-default}, or $${ for the two "+
				"characters themselves", inside)
		}
		value, ok := env(m[1])
		switch {
		case m[2] != "" && value == "":
			value = m[3]
		case !ok:
			return "", fmt.Errorf("the environment variable %s is not set: set it, or write ${%s:-default}", m[1], m[1])
		}
		b.WriteString(value)
	}
}
