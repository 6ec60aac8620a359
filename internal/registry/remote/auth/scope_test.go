package auth

import "testing"

func TestScopeParam(t *testing.T) {
	if got := (Scope{"acme/app", []string{"pull", "push"}}).String(); got != "repository:acme/app:pull,push" {
		t.Errorf("String() = %s", got)
	}
	got := scopeParam(normalizeScopes([]Scope{{"b", []string{"push", "pull"}}, {"a", []string{"pull"}}, {"b", []string{"pull"}}}))
	if got != "repository:a:pull repository:b:pull,push" {
		t.Errorf("scopeParam() = %s", got)
	}
}

func TestCovers(t *testing.T) {
	have := []Scope{{"a", []string{"pull", "push"}}, {"b", []string{"pull"}}}
	for _, want := range [][]Scope{nil, {{"a", []string{"pull"}}}, {{"b", []string{"pull"}}, {"a", []string{"push"}}}} {
		if !covers(have, want) {
			t.Errorf("covers(%v, %v) = false, want true", have, want)
		}
	}
	for _, want := range [][]Scope{{{"c", nil}}, {{"b", []string{"push"}}}, {{"a", []string{"pull", "delete"}}}} {
		if covers(have, want) {
			t.Errorf("covers(%v, %v) = true, want false", have, want)
		}
	}
}
