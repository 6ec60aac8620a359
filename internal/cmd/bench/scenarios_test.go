package main

import "testing"

func TestPairs_Promotion(t *testing.T) {
	s := scenario{images: []string{"app"}, promote: true}
	got := s.pairs("127.0.0.1:1", "127.0.0.1:2", map[string]string{"app": "sha256:abc"})
	want := pair{source: "127.0.0.1:2/stage/app:1", destination: "127.0.0.1:2/production/app:1", repository: "production/app", digest: "sha256:abc"}
	if len(got) != 1 || got[0] != want {
		t.Errorf("pairs() = %+v, want %+v", got, want)
	}
}
