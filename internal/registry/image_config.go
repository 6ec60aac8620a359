package registry

import (
	"slices"
	"strings"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// MediaTypeDockerConfig is the media type of a Docker image configuration.
// image-spec defines the one of an OCI image.
const MediaTypeDockerConfig = "application/vnd.docker.container.image.v1+json"

// ImageConfig is an image configuration (OCI image configuration specification).
// Docker's format is a superset.
type ImageConfig struct {
	// Descriptor is the descriptor of the configuration in the manifest.
	Descriptor Descriptor
	// Content is the configuration, byte for byte.
	Content []byte
	// Platform is the platform of the image. It is zero if the configuration has
	// none.
	Platform Platform
	// Created is the creation time as written. It should have the format of RFC
	// 3339.
	Created string
	Author  string
	// Config has the parameters for containers of the image.
	Config ocispec.ImageConfig
	// History has the build steps of the layers, the oldest first.
	History []ImageHistory
}

// ImageHistory is one build step of an image.
type ImageHistory struct {
	Created    string `json:"created"`
	CreatedBy  string `json:"created_by"`
	Author     string `json:"author"`
	Comment    string `json:"comment"`
	EmptyLayer bool   `json:"empty_layer"`
}

// wireConfig is the JSON form of ImageConfig.
type wireConfig struct {
	wirePlatform
	Created string        `json:"created"`
	Author  string        `json:"author"`
	Config  wireRuntime   `json:"config"`
	History []wireHistory `json:"history"`
}

// wireRuntime is the JSON form of ImageConfig.Config.
type wireRuntime struct {
	ocispec.ImageConfig
	Others unknownMembers `json:",embed"`
}

// wireHistory is the JSON form of ImageHistory.
type wireHistory struct {
	ImageHistory
	Others unknownMembers `json:",embed"`
}

var (
	wireConfigKeys  = append(strings.Fields("created author config history rootfs"), wirePlatformKeys...)
	wireRuntimeKeys = strings.Fields("User ExposedPorts Env Entrypoint Cmd Volumes WorkingDir Labels StopSignal")
	wireHistoryKeys = strings.Fields("created created_by author comment empty_layer")
)

// IsImageConfig reports whether mediaType is the type of an image configuration.
// Early Docker images use application/octet-stream for it.
func IsImageConfig(mediaType string) bool {
	return slices.Contains([]string{ocispec.MediaTypeImageConfig, MediaTypeDockerConfig, "application/octet-stream"}, mediaType)
}

// ParseImageConfig parses the image configuration that a manifest references by d.
// Like Manifest.Parse, it returns an error for content that parsers may interpret
// differently. The error matches ErrInvalidManifest or ErrLimit.
func ParseImageConfig(d Descriptor, content []byte) (ImageConfig, error) {
	config, fault := parseImageConfig(content)
	if fault != nil {
		fault.Op, fault.Reference = "read the configuration", d.Digest.String()
		return ImageConfig{}, fault
	}
	config.Descriptor = d
	return config, nil
}

func parseImageConfig(content []byte) (ImageConfig, *Error) {
	if why := countEntries(content); why != "" {
		return ImageConfig{}, newFault(ErrLimit, "%s", why)
	}
	var wire wireConfig
	why := decode(content, &wire)
	if why == "" {
		why = caseVariant(wire.Others, wireConfigKeys)
	}
	if why == "" {
		why = caseVariant(wire.Config.Others, wireRuntimeKeys)
	}
	config := ImageConfig{
		Content: content, Platform: wire.Platform, Created: wire.Created, Author: wire.Author, Config: wire.Config.ImageConfig,
	}
	for _, step := range wire.History {
		if why == "" {
			why = caseVariant(step.Others, wireHistoryKeys)
		}
		config.History = append(config.History, step.ImageHistory)
	}
	if why != "" {
		return ImageConfig{}, newFault(ErrInvalidManifest, "%s", why)
	}
	return config, nil
}

// ConfigPlatform returns the platform of an image configuration. The result is zero
// if the configuration has no platform, like that of other artifacts, or if parsers
// may find different ones. The other fields are not checked.
func ConfigPlatform(content []byte) Platform {
	var wire wirePlatform
	if decode(content, &wire) != "" || caseVariant(wire.Others, wirePlatformKeys) != "" || strings.TrimSpace(wire.OS) == "" {
		return Platform{}
	}
	return wire.Platform
}
