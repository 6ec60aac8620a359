package provider

import (
	"maps"
	"slices"
	"strings"

	"github.com/hashicorp/terraform-plugin-framework-timeouts/datasource/timeouts"
	"github.com/hashicorp/terraform-plugin-framework/types"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry"
)

// imageConfigModel is the model of registry_image_config.
type imageConfigModel struct {
	Reference       referenceValue      `tfsdk:"reference"`
	Platform        types.String        `tfsdk:"platform"`
	Digest          string              `tfsdk:"digest"`
	PinnedReference string              `tfsdk:"pinned_reference"`
	ConfigDigest    string              `tfsdk:"config_digest"`
	ConfigJSON      string              `tfsdk:"config_json"`
	OS              *string             `tfsdk:"os"`
	Architecture    *string             `tfsdk:"architecture"`
	Variant         *string             `tfsdk:"variant"`
	OSVersion       *string             `tfsdk:"os_version"`
	Created         *string             `tfsdk:"created"`
	Author          *string             `tfsdk:"author"`
	Labels          map[string]string   `tfsdk:"labels"`
	Environment     map[string]string   `tfsdk:"environment"`
	Entrypoint      []string            `tfsdk:"entrypoint"`
	Command         []string            `tfsdk:"command"`
	User            *string             `tfsdk:"user"`
	WorkingDir      *string             `tfsdk:"working_dir"`
	ExposedPorts    []string            `tfsdk:"exposed_ports"`
	Volumes         []string            `tfsdk:"volumes"`
	StopSignal      *string             `tfsdk:"stop_signal"`
	History         []imageHistoryModel `tfsdk:"history"`
	Timeouts        timeouts.Value      `tfsdk:"timeouts"`
}

// imageHistoryModel is one entry of an image's history.
type imageHistoryModel struct {
	Created    *string `tfsdk:"created"`
	CreatedBy  *string `tfsdk:"created_by"`
	Author     *string `tfsdk:"author"`
	Comment    *string `tfsdk:"comment"`
	EmptyLayer bool    `tfsdk:"empty_layer"`
}

// newImageConfig returns the model for the config c of the image m. pinned is the pinned
// reference of m.
func newImageConfig(pinned string, m registry.Manifest, c registry.ImageConfig) imageConfigModel {
	model := imageConfigModel{
		Digest:          m.Digest.String(),
		PinnedReference: pinned,
		ConfigDigest:    c.Descriptor.Digest.String(),
		ConfigJSON:      string(c.Content),
		OS:              orNull(c.Platform.OS),
		Architecture:    orNull(c.Platform.Architecture),
		Variant:         orNull(c.Platform.Variant),
		OSVersion:       orNull(c.Platform.OSVersion),
		Created:         orNull(c.Created),
		Author:          orNull(c.Author),
		Labels:          orEmpty(c.Config.Labels),
		Environment:     environment(c.Config.Env),
		Entrypoint:      append([]string{}, c.Config.Entrypoint...),
		Command:         append([]string{}, c.Config.Cmd...),
		User:            orNull(c.Config.User),
		WorkingDir:      orNull(c.Config.WorkingDir),
		ExposedPorts:    append([]string{}, slices.Sorted(maps.Keys(c.Config.ExposedPorts))...),
		Volumes:         append([]string{}, slices.Sorted(maps.Keys(c.Config.Volumes))...),
		StopSignal:      orNull(c.Config.StopSignal),
		History:         []imageHistoryModel{},
	}
	for _, step := range c.History {
		model.History = append(model.History, imageHistoryModel{
			Created:    orNull(step.Created),
			CreatedBy:  orNull(step.CreatedBy),
			Author:     orNull(step.Author),
			Comment:    orNull(step.Comment),
			EmptyLayer: step.EmptyLayer,
		})
	}
	return model
}

// environment returns a list of NAME=value entries as a map. The last value of a name wins, as
// when a container is started. Entries without a name or a value are ignored.
func environment(env []string) map[string]string {
	variables := map[string]string{}
	for _, variable := range env {
		if name, value, set := strings.Cut(variable, "="); set && name != "" {
			variables[name] = value
		}
	}
	return variables
}
