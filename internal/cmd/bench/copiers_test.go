package main

import (
	"strings"
	"testing"
)

func TestCommandsFor(t *testing.T) {
	digests := map[string]string{}
	for _, c := range copiers {
		for _, s := range scenarios {
			if !c.supports(s) {
				continue
			}
			pairs := s.pairs("127.0.0.1:1", "127.0.0.1:2", digests)
			for _, ca := range []string{"", "ca.pem"} {
				values := map[string]string{"bin": "bin", "terraform": "terraform", "home": "home", "list": "list.txt", "ca": ca}
				lines := c.commandsFor(pairs, values)
				if len(lines) != 1 && len(lines) != len(pairs) {
					t.Errorf("%s, %s: commandsFor() returned %d commands for %d copies", c.name, s.name, len(lines), len(pairs))
				}
				for _, line := range lines {
					text := strings.Join(append(line.Env, line.Args...), " ")
					if len(line.Args) == 0 || strings.ContainsAny(text, "{}") {
						t.Errorf("%s, %s: command = %q", c.name, s.name, text)
					}
					named := strings.Contains(text, "ca.pem") || strings.Contains(text, "-chdir=home")
					if ca != "" && !named {
						t.Errorf("%s, %s: command without the authority: %q", c.name, s.name, text)
					}
				}
			}
		}
	}
}
