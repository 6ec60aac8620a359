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

// describeMachine describes the machine of the measurements. Some details are available only on
// Linux.
func describeMachine() string {
	description := []string{fmt.Sprintf("%d cores", runtime.NumCPU()), runtime.GOOS + "/" + runtime.GOARCH}
	if model := firstGroup("/proc/cpuinfo", `(?m)^model name\s*: (.+)$`); model != "" {
		description = append([]string{model}, description...)
	}
	if kib, err := strconv.ParseInt(firstGroup("/proc/meminfo", `(?m)^MemTotal:\s+(\d+) kB$`), 10, 64); err == nil {
		description = append(description, fmt.Sprintf("%.0f GiB of memory", float64(kib)/(1<<20)))
	}
	if kernel := firstGroup("/proc/sys/kernel/osrelease", `^(\S+)`); kernel != "" {
		description = append(description, "kernel "+kernel)
	}
	return strings.Join(description, ", ")
}

// firstGroup returns the first group of the first match of pattern in a file, or "" if there is
// no match.
func firstGroup(file, pattern string) string {
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

// describeTree describes the commit of the tree in dir, if the tree is in git.
func describeTree(ctx context.Context, dir string) string {
	commit, err := child.Program{Path: "git", Dir: dir}.Run(ctx, "describe", "--always", "--dirty", "--abbrev=10")
	if err != nil {
		return "this tree"
	}
	return "commit " + strings.TrimSpace(commit)
}
