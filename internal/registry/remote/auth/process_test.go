package auth_test

import (
	"os"
	"strconv"
	"strings"
	"testing"
)

// endChild ends the process whose id is in a file, which a helper started.
func endChild(t *testing.T, file string) {
	t.Helper()
	content, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	id, err := strconv.Atoi(strings.TrimSpace(string(content)))
	if err != nil {
		t.Fatal(err)
	}
	child, err := os.FindProcess(id)
	if err == nil {
		err = child.Kill()
	}
	if err != nil {
		t.Fatal(err)
	}
}
