package registry

import (
	"slices"
	"strings"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// MediaTypeDockerConfig is the media type of the configuration of a Docker
// image; image-spec names the other.
const MediaTypeDockerConfig = "application/vnd.docker.container.image.v1+json"

// ImageConfig is the configuration of an image (OCI image configuration
// specification), which Docker's is a superset of.
type ImageConfig struct {
	// Descriptor is how the manifest names it.
	Descriptor Descriptor
	// Content is the configuration, byte for byte.
	Content []byte
	// Platform is what the image is for; zero where it does not say.
	Platform Platform
	// Created is as it was written, which should be by RFC 3339.
	Created string
	Author  string
	// Config is what a container of the image runs with.
	Config ocispec.ImageConfig
	// History is how the layers came to be, the oldest first.
	History []ImageHistory
}

// ImageHistory is one step of the making of an image.
type ImageHistory struct {
	Created    string `json:"created"`
	CreatedBy  string `json:"created_by"`
	Author     string `json:"author"`
	Comment    string `json:"comment"`
	EmptyLayer bool   `json:"empty_layer"`
}

// wireConfig is an ImageConfig as it comes.
type wireConfig struct {
	wirePlatform
	Created string        `json:"created"`
	Author  string        `json:"author"`
	Config  wireRuntime   `json:"config"`
	History []wireHistory `json:"history"`
}

// wireRuntime is what a container runs with, as it comes.
type wireRuntime struct {
	ocispec.ImageConfig
	Others others `json:",embed"`
}

// wireHistory is an ImageHistory as it comes.
type wireHistory struct {
	ImageHistory
	Others others `json:",embed"`
}

var (
	wireConfigKeys  = append(strings.Fields("created author config history rootfs"), wirePlatformKeys...)
	wireRuntimeKeys = strings.Fields("User ExposedPorts Env Entrypoint Cmd Volumes WorkingDir Labels StopSignal")
	wireHistoryKeys = strings.Fields("created created_by author comment empty_layer")
)

// IsImageConfig says whether a media type is one of an image's configuration.
// Images of Docker's early years say no more of it than that it is data.
func IsImageConfig(mediaType string) bool {
	return slices.Contains([]string{ocispec.MediaTypeImageConfig, MediaTypeDockerConfig, "application/octet-stream"}, mediaType)
}

// ParseImageConfig reads the configuration of an image, which a manifest names
// by d. Bytes that two readers may understand in two ways are refused, as
// Manifest.Parse refuses them. The error matches ErrInvalidManifest or ErrLimit.
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

// ConfigPlatform is the platform that the configuration of an image names; a
// zero one where it names none, which that of another artifact need not, or
// where two readers may find another one. Nothing else of it is looked at.
func ConfigPlatform(content []byte) Platform {
	var wire wirePlatform
	if decode(content, &wire) != "" || caseVariant(wire.Others, wirePlatformKeys) != "" || strings.TrimSpace(wire.OS) == "" {
		return Platform{}
	}
	return wire.Platform
}
