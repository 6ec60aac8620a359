package provider

import (
	"context"
	"errors"
	"fmt"

	"github.com/hashicorp/terraform-plugin-framework/datasource"
	"github.com/hashicorp/terraform-plugin-framework/datasource/schema"
	"github.com/hashicorp/terraform-plugin-framework/diag"
	"github.com/hashicorp/terraform-plugin-framework/path"
	"github.com/hashicorp/terraform-plugin-framework/schema/validator"
	"github.com/hashicorp/terraform-plugin-framework/tfsdk"
	"github.com/hashicorp/terraform-plugin-framework/types"
	"golang.org/x/text/unicode/norm"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry"
	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/imageref"
	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/remote"
)

// dataSource is what all data sources have in common.
type dataSource struct{ engine *engine }

// Configure takes the engine that the provider hands over.
func (d *dataSource) Configure(_ context.Context, req datasource.ConfigureRequest, resp *datasource.ConfigureResponse) {
	var err error
	if d.engine, err = engineOf(req.ProviderData); err != nil {
		resp.Diagnostics.AddError("The provider handed over something else", err.Error())
	}
}

// canQuery says whether a repository can be asked: no setting is missing for that.
// Where one is, that is an error about the attribute at.
func canQuery(repository, setting string, at path.Path, diags *diag.Diagnostics) bool {
	if setting != "" {
		diags.AddAttributeError(at, "The registry cannot be asked yet",
			fmt.Sprintf("%s in the provider's configuration is known only after apply, and %s cannot be asked without it. "+
				"Add depends_on with the resource that it comes from to this data source, so that it is read after that.", setting, repository))
	}
	return setting == ""
}

// manifestQuery is what a data source about one manifest is asked for.
type manifestQuery struct {
	reference referenceValue
	platform  types.String
	place     imageref.Ref
	client    *remote.Client
	repo      registry.Repository // nil until it was opened
	found     bool                // it has what reference names
}

// manifestQuery reads the attributes reference and platform. They can be used unless
// diags has an error.
func (d *dataSource) wanted(ctx context.Context, config tfsdk.Config, diags *diag.Diagnostics) *manifestQuery {
	w := &manifestQuery{}
	diags.Append(config.GetAttribute(ctx, path.Root("reference"), &w.reference)...)
	diags.Append(config.GetAttribute(ctx, path.Root("platform"), &w.platform)...)
	if diags.HasError() {
		return w
	}
	at := path.Root("reference")
	var err error
	if w.place, err = w.reference.place(); err != nil {
		diags.AddAttributeError(at, "Invalid image reference", invalidReference(w.reference.ValueString(), err))
		return w
	}
	if canQuery(w.place.Name(), d.engine.unknownSettingFor(w.place), at, diags) {
		w.client = d.engine.client
	}
	return w
}

// manifest is what the reference names, or of that the part for the platform
// that is wanted.
func (w *manifestQuery) manifest(ctx context.Context) (m registry.Manifest, err error) {
	if w.repo, err = w.place.OpenSource(w.client); err != nil {
		return m, err
	}
	m, err = w.repo.GetManifest(ctx, w.place.Identifier())
	if w.found = err == nil; !w.found || w.platform.IsNull() {
		return m, err
	}
	return platformManifest(ctx, w.repo, m, w.platform.ValueString())
}

// missing says whether err is the registry's own word that it does not have what
// the reference names. That it lacks a part of it is another matter.
func (w *manifestQuery) missing(err error) bool {
	return !w.found && errors.Is(err, registry.ErrNotFound)
}

// failed says that something of what is wanted could not be had.
func (w *manifestQuery) failed(diags *diag.Diagnostics, summary string, err error) {
	var advice []string
	if !w.found || !errors.Is(err, registry.ErrNotFound) {
		summary, advice = errorSummary("", err, summary), untagged(w.reference, err)
	}
	if w.repo != nil {
		err = registry.RedactError(registry.WithRepository(err, w.repo.Name()), w.repo.Redact)
	}
	at := path.Root("reference")
	if lacksPlatform(err) {
		at = path.Root("platform")
	}
	addEngineError(diags, at, summary, err, advice...)
}

// warnRespelled warns where Terraform keeps the text of an attribute in other
// bytes than those that were received. of is what they have the digest of.
func warnRespelled(diags *diag.Diagnostics, attribute, of string, content []byte) {
	if norm.NFC.IsNormal(content) {
		return
	}
	diags.AddAttributeWarning(path.Root("reference"), attribute+" is not byte for byte",
		fmt.Sprintf("%s holds text that Terraform spells in another way (Unicode normal form C) when it keeps it. Its digest is not the one of %s.", of, attribute))
}

// referenceAttribute and platformAttribute are what wanted reads.
func referenceAttribute() schema.StringAttribute {
	return schema.StringAttribute{
		Required:   true,
		CustomType: referenceType{},
		MarkdownDescription: "The reference to read, such as `docker.io/library/alpine:3.20` or `ghcr.io/acme/app@sha256:…`, or `oci:PATH:tag` in an image layout on this machine. " +
			"If it has a tag and a digest, the digest is used.",
	}
}

func platformAttribute() schema.StringAttribute {
	return schema.StringAttribute{
		Optional:   true,
		Validators: []validator.String{isPlatformName{}},
		MarkdownDescription: "The platform to select from an index, as `os/architecture` or `os/architecture/variant`, such as `linux/amd64` or `linux/arm/v7`. " +
			"Use `windows(10.0.20348)/amd64` for a version of an operating system. " +
			"An image that is not an index must be for this platform.",
	}
}
