package auth

import (
	"maps"
	"slices"
	"strings"
)

// Scope is the scope of a token: actions on one repository ("Token Scope
// Documentation" of the distribution project).
type Scope struct {
	// Repository is the path within the host.
	Repository string
	// Actions are "pull", "push", "delete".
	Actions []string
}

// String returns the scope in the format of a token request:
// "repository:NAME:pull,push".
func (s Scope) String() string {
	return "repository:" + s.Repository + ":" + strings.Join(s.Actions, ",")
}

// normalizeScopes returns scopes sorted and without duplicates, with one entry per
// repository.
func normalizeScopes(scopes []Scope) []Scope {
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

// covers reports whether a token for have is sufficient for want.
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

// scopeParam returns scopes as the scope parameter of an OAuth 2 request, separated
// by spaces.
func scopeParam(scopes []Scope) string {
	texts := make([]string, len(scopes))
	for i, s := range scopes {
		texts[i] = s.String()
	}
	return strings.Join(texts, " ")
}
