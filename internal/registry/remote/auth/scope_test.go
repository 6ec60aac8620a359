package auth

import "testing"

func TestScopesInTheirWireForm(t *testing.T) {
	if got := (Scope{"acme/app", []string{"pull", "push"}}).String(); got != "repository:acme/app:pull,push" {
		t.Error(got)
	}
	got := scopeParam(normalizeScopes([]Scope{{"b", []string{"push", "pull"}}, {"a", []string{"pull"}}, {"b", []string{"pull"}}}))
	if got != "repository:a:pull repository:b:pull,push" {
		t.Error(got)
	}
}

func TestATokenCoversWhatItsScopesContain(t *testing.T) {
	have := []Scope{{"a", []string{"pull", "push"}}, {"b", []string{"pull"}}}
	for _, want := range [][]Scope{nil, {{"a", []string{"pull"}}}, {{"b", []string{"pull"}}, {"a", []string{"push"}}}} {
		if !covers(have, want) {
			t.Errorf("%v is not covered", want)
		}
	}
	for _, want := range [][]Scope{{{"c", nil}}, {{"b", []string{"push"}}}, {{"a", []string{"pull", "delete"}}}} {
		if covers(have, want) {
			t.Errorf("%v is covered", want)
		}
	}
}
