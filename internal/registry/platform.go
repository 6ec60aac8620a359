package registry

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Platform is an alias of the image specification's platform (OCI image index
// specification, "platform").
type Platform = ocispec.Platform

// platformForm matches os[(version)]/architecture[/variant], the format of
// containerd and Docker.
var platformForm = regexp.MustCompile(`^([A-Za-z0-9_.-]+)(?:\(([A-Za-z0-9_.-]+)\))?/([A-Za-z0-9_.-]+)(?:/([A-Za-z0-9_.-]+))?$`)

// ParsePlatform parses os/architecture[/variant], as in "linux/arm64" or
// "linux/arm/v7", and os(version)/architecture for Windows, as in
// "windows(10.0.20348)/amd64". The error has the reason.
func ParsePlatform(s string) (Platform, error) {
	parts := platformForm.FindStringSubmatch(s)
	if parts == nil {
		return Platform{}, fmt.Errorf("%q cannot be read as a platform: write os/architecture or os/architecture/variant, such as linux/amd64 or linux/arm/v7; "+
			"the version of an operating system follows it in parentheses, such as windows(10.0.20348)/amd64", Sanitize(s))
	}
	return Platform{OS: parts[1], OSVersion: parts[2], Architecture: parts[3], Variant: parts[4]}, nil
}

// NormalPlatform returns a platform in normal form, because build tools write
// different names for the same platform: arm64 means v8, arm means v7, and some
// names have older forms (OCI image index specification, "Platform Variants").
func NormalPlatform(p Platform) Platform {
	p.OS, p.Architecture, p.Variant = strings.ToLower(p.OS), strings.ToLower(p.Architecture), strings.ToLower(p.Variant)
	if p.OS == "macos" {
		p.OS = "darwin"
	}
	switch p.Architecture {
	case "x86_64", "x86-64":
		p.Architecture = "amd64"
	case "i386":
		p.Architecture = "386"
	case "aarch64":
		p.Architecture = "arm64"
	case "armhf":
		p.Architecture, p.Variant = "arm", "v7"
	case "armel":
		p.Architecture, p.Variant = "arm", "v6"
	}
	if p.Variant != "" && p.Variant[0] >= '0' && p.Variant[0] <= '9' {
		p.Variant = "v" + p.Variant
	}
	switch p.Architecture + "/" + p.Variant {
	case "arm/":
		p.Variant = "v7"
	case "arm64/v8", "amd64/v1":
		p.Variant = ""
	}
	return p
}

// Satisfies reports whether an image for one platform fits a request for another. The
// version of the operating system is compared only if the request has one, and only
// as far as it is given: 10.0.20348 matches every 10.0.20348.x. Features of the
// operating system are ignored.
func Satisfies(platform, request Platform) bool {
	platform, request = NormalPlatform(platform), NormalPlatform(request)
	version := request.OSVersion == "" || platform.OSVersion == request.OSVersion || strings.HasPrefix(platform.OSVersion, request.OSVersion+".")
	return platform.OS == request.OS && platform.Architecture == request.Architecture && platform.Variant == request.Variant && version
}

// FormatPlatform returns a platform in the format of ParsePlatform.
func FormatPlatform(p Platform) string {
	name := p.OS
	if p.OSVersion != "" {
		name += "(" + p.OSVersion + ")"
	}
	name += "/" + p.Architecture
	if p.Variant != "" {
		name += "/" + p.Variant
	}
	return Sanitize(name)
}

// IsPlatform reports whether p is a platform that can run an image. Attestation
// manifests have the platform unknown/unknown.
func IsPlatform(p *Platform) bool {
	return p != nil && p.OS != "" && p.OS != "unknown" && p.Architecture != "unknown"
}

// FormatPlatforms returns the distinct platforms of descriptors, in their order.
// Descriptors without a platform are skipped.
func FormatPlatforms(descriptors []Descriptor) []string {
	var names []string
	for _, d := range descriptors {
		if !IsPlatform(d.Platform) {
			continue
		}
		if name := FormatPlatform(*d.Platform); !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names
}

// JoinPlatforms returns the result of FormatPlatforms as a phrase for messages.
func JoinPlatforms(descriptors []Descriptor) string {
	if names := FormatPlatforms(descriptors); len(names) > 0 {
		return strings.Join(names, ", ")
	}
	return "no platforms"
}
