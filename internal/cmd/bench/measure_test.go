package main

import (
	"bytes"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

func TestTask_Measure(t *testing.T) {
	test, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	run := func(args ...string) command { return command{Args: append([]string{test}, args...)} }
	var printed bytes.Buffer
	if err := runMeasure(t.Context(), []string{string(encode(task{Commands: []command{run("-test.run=^$"), run("-test.list=^$")}}))}, &printed); err != nil {
		t.Fatal(err)
	}
	if !regexp.MustCompile(`^{"Wall":[1-9]\d*,"CPU":[1-9]\d*,"Memory":[1-9]\d{6,},"Failed":""}\n$`).MatchString(printed.String()) {
		t.Errorf("runMeasure() printed %s", &printed)
	}
	if got := (task{Commands: []command{run("-test.run=^$"), run("-test.run=(")}}).run(t.Context()); !strings.Contains(got.Failed, "missing closing )") {
		t.Errorf("run() with a failing command = %+v, want its output", got)
	}
	got := task{Home: "home"}.environment([]string{"PATH=bin", "TF_LOG=trace", "SSL_CERT_FILE=ca.pem", "https_proxy=127.0.0.1:1", "REGISTRY_AUTH_FILE=auth.json"})
	if slices.Sort(got); !slices.Equal(got, []string{"DOCKER_CONFIG=home", "HOME=home", "PATH=bin",
		"XDG_CACHE_HOME=home", "XDG_CONFIG_HOME=home", "XDG_DATA_HOME=home", "XDG_RUNTIME_DIR=home"}) {
		t.Errorf("environment() = %q", got)
	}
}
