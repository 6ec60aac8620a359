package provider

import (
	"fmt"
	"regexp"
	"strings"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

var platformPart = regexp.MustCompile(`^[A-Za-z0-9_.-]+$`)

// parsePlatform reads os/architecture[/variant], as in "linux/arm64" or
// "linux/arm/v7".
func parsePlatform(s string) (ocispec.Platform, error) {
	parts := strings.Split(s, "/")
	for _, part := range parts {
		if !platformPart.MatchString(part) {
			parts = nil
		}
	}
	if len(parts) != 2 && len(parts) != 3 {
		return ocispec.Platform{}, fmt.Errorf("%q cannot be read as a platform: write os/architecture or os/architecture/variant, such as linux/amd64 or linux/arm/v7", s)
	}
	p := ocispec.Platform{OS: parts[0], Architecture: parts[1]}
	if len(parts) == 3 {
		p.Variant = parts[2]
	}
	return p, nil
}

// normalPlatform spells a platform in one way, because images are labelled by
// many hands: arm64 means v8, arm means v7, and some names have older forms
// (OCI image index specification, "Platform Variants").
func normalPlatform(p ocispec.Platform) ocispec.Platform {
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

// samePlatform says whether an image made for one platform is what somebody
// means who asks for the other. Versions and features of an operating system
// are not asked for and not looked at.
func samePlatform(a, b ocispec.Platform) bool {
	a, b = normalPlatform(a), normalPlatform(b)
	return a.OS == b.OS && a.Architecture == b.Architecture && a.Variant == b.Variant
}

// platformName is a platform as people write it.
func platformName(p ocispec.Platform) string {
	name := p.OS + "/" + p.Architecture
	if p.Variant != "" {
		name += "/" + p.Variant
	}
	return name
}

// isPlatform says whether a descriptor's platform is one that something can run
// on: attestation manifests say unknown/unknown.
func isPlatform(p *ocispec.Platform) bool {
	return p != nil && p.OS != "" && p.OS != "unknown" && p.Architecture != "unknown"
}
