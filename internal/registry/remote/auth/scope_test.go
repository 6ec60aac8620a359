package auth

import (
	"reflect"
	"testing"
)

func TestScopesInTheirWireForm(t *testing.T) {
	if got := (Scope{"acme/app", []string{"pull", "push"}}).String(); got != "repository:acme/app:pull,push" {
		t.Error(got)
	}
	got := wire(merged([]Scope{{"b", []string{"push", "pull"}}, {"a", []string{"pull"}}, {"b", []string{"pull"}}}))
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

func TestAChallengeAddsActionsToWhatIsAskedForOnly(t *testing.T) {
	asked := []Scope{{"acme/app", []string{"pull"}}, {"host:5000/x", []string{"pull"}}}
	for challenged, want := range map[string][]Scope{
		"":                                        nil,
		"repository:acme/app:pull,push":           {{"acme/app", []string{"pull", "push"}}},
		"repository:host:5000/x:*":                {{"host:5000/x", []string{"*"}}},
		"repository:secret/app:pull":              nil,
		"registry:acme/app:*":                     nil,
		"repository:acme/app":                     nil,
		"nonsense":                                nil,
		"repository:acme/app:pull,PU SH":          {{"acme/app", []string{"pull"}}},
		"repository:acme/app:a,b,c,d,e,f,g,h,i,j": {{"acme/app", []string{"a", "b", "c", "d", "e", "f", "g", "h"}}},
		"repository:acme/app:a repository:acme/app:b repository:acme/app:c": {{"acme/app", []string{"a"}}, {"acme/app", []string{"b"}}},
	} {
		if got := further(challenged, asked); !reflect.DeepEqual(got, want) {
			t.Errorf("%q adds %v, not %v", challenged, got, want)
		}
	}
}
