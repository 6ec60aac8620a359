package main

import (
	"context"
	"fmt"
	"os"
	"regexp"
	"runtime"
	"strconv"
	"strings"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/cmd/internal/child"
)

// describeMachine says what the figures were measured on, as far as Linux tells.
func describeMachine() string {
	about := []string{fmt.Sprintf("%d cores", runtime.NumCPU()), runtime.GOOS + "/" + runtime.GOARCH}
	if model := matched("/proc/cpuinfo", `(?m)^model name\s*: (.+)$`); model != "" {
		about = append([]string{model}, about...)
	}
	if kib, err := strconv.ParseInt(matched("/proc/meminfo", `(?m)^MemTotal:\s+(\d+) kB$`), 10, 64); err == nil {
		about = append(about, fmt.Sprintf("%.0f GiB of memory", float64(kib)/(1<<20)))
	}
	if kernel := matched("/proc/sys/kernel/osrelease", `^(\S+)`); kernel != "" {
		about = append(about, "kernel "+kernel)
	}
	return strings.Join(about, ", ")
}

// matched is the first group of what matches in a file; "" where nothing does.
func matched(file, pattern string) string {
	content, err := os.ReadFile(file)
	if err != nil {
		return ""
	}
	groups := regexp.MustCompile(pattern).FindSubmatch(content)
	if groups == nil {
		return ""
	}
	return strings.TrimSpace(string(groups[1]))
}

func goVersion() string { return strings.TrimPrefix(runtime.Version(), "go") }

// describeTree says which commit the tree in dir is at; a tree without git is
// this one.
func describeTree(ctx context.Context, dir string) string {
	commit, err := child.Program{Path: "git", Dir: dir}.Run(ctx, "describe", "--always", "--dirty", "--abbrev=10")
	if err != nil {
		return "this tree"
	}
	return "commit " + strings.TrimSpace(commit)
}
