package auth

import (
	"maps"
	"regexp"
	"slices"
	"strings"
)

// Scope is what a token is wanted for: actions on one repository ("Token Scope
// Documentation" of the distribution project).
type Scope struct {
	// Repository is the path within the host.
	Repository string
	// Actions are "pull", "push", "delete".
	Actions []string
}

// String is the scope as it is sent: "repository:NAME:pull,push".
func (s Scope) String() string {
	return "repository:" + s.Repository + ":" + strings.Join(s.Actions, ",")
}

// merged gives scopes one form: each repository once, in order, with its
// actions once each, in order.
func merged(scopes []Scope) []Scope {
	actions := map[string][]string{}
	for _, s := range scopes {
		actions[s.Repository] = append(actions[s.Repository], s.Actions...)
	}
	out := make([]Scope, 0, len(actions))
	for _, repository := range slices.Sorted(maps.Keys(actions)) {
		list := actions[repository]
		slices.Sort(list)
		out = append(out, Scope{repository, slices.Compact(list)})
	}
	return out
}

// covers says whether a token for have serves what needs want.
func covers(have, want []Scope) bool {
	for _, w := range want {
		i := slices.IndexFunc(have, func(h Scope) bool { return h.Repository == w.Repository })
		if i < 0 {
			return false
		}
		for _, action := range w.Actions {
			if !slices.Contains(have[i].Actions, action) {
				return false
			}
		}
	}
	return true
}

// wire are the scopes as an OAuth 2 request has them: separated by spaces.
func wire(scopes []Scope) string {
	texts := make([]string, len(scopes))
	for i, s := range scopes {
		texts[i] = s.String()
	}
	return strings.Join(texts, " ")
}

// maxFurther is how many actions a challenge may name for a repository.
const maxFurther = 8

var actionForm = regexp.MustCompile(`^([a-z_]{1,32}|\*)$`)

// further are the scopes that a challenge names for repositories that are asked
// for anyway. A registry that wants another action for a request than is usual
// says so there; scopes for other repositories are none of its business.
func further(challenged string, asked []Scope) []Scope {
	var out []Scope
	for text := range strings.FieldsSeq(challenged) {
		kind, rest, _ := strings.Cut(text, ":")
		colon := strings.LastIndexByte(rest, ':')
		if kind != "repository" || colon < 0 {
			continue
		}
		s := Scope{Repository: rest[:colon]}
		for action := range strings.SplitSeq(rest[colon+1:], ",") {
			if actionForm.MatchString(action) && len(s.Actions) < maxFurther {
				s.Actions = append(s.Actions, action)
			}
		}
		if slices.ContainsFunc(asked, func(a Scope) bool { return a.Repository == s.Repository }) && len(out) < len(asked) {
			out = append(out, s)
		}
	}
	return out
}
