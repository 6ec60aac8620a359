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

// dataSource has the fields and methods that all data sources share.
type dataSource struct{ engine *engine }

// Configure stores the engine that the provider passes to its data sources.
func (d *dataSource) Configure(_ context.Context, req datasource.ConfigureRequest, resp *datasource.ConfigureResponse) {
	var err error
	if d.engine, err = engineOf(req.ProviderData); err != nil {
		resp.Diagnostics.AddError("Unexpected Provider Data Type", err.Error())
	}
}

// canQuery reports whether a repository can be queried. If a setting that it needs is unknown,
// canQuery adds an error for the attribute at.
func canQuery(repository, setting string, at path.Path, diags *diag.Diagnostics) bool {
	if setting != "" {
		diags.AddAttributeError(at, "Registry Configuration Not Known Yet",
			fmt.Sprintf("%s in the provider's configuration is known only after apply, and %s cannot be asked without it. "+
				"Add depends_on with the resource that it comes from to this data source, so that it is read after that.", setting, repository))
	}
	return setting == ""
}

// manifestQuery is a data source's query for one manifest.
type manifestQuery struct {
	reference referenceValue
	platform  types.String
	ref       imageref.Ref
	client    *remote.Client
	repo      registry.Repository // nil until it is opened
	found     bool                // whether the reference exists
}

// newManifestQuery reads the attributes reference and platform. The query is valid unless diags
// has an error.
func (d *dataSource) newManifestQuery(ctx context.Context, config tfsdk.Config, diags *diag.Diagnostics) *manifestQuery {
	q := &manifestQuery{}
	diags.Append(config.GetAttribute(ctx, path.Root("reference"), &q.reference)...)
	diags.Append(config.GetAttribute(ctx, path.Root("platform"), &q.platform)...)
	if diags.HasError() {
		return q
	}
	at := path.Root("reference")
	var err error
	if q.ref, err = q.reference.ref(); err != nil {
		diags.AddAttributeError(at, "Invalid Image Reference", invalidReference(q.reference.ValueString(), err))
		return q
	}
	if canQuery(q.ref.Name(), d.engine.unknownSettingFor(q.ref), at, diags) {
		q.client = d.engine.client
	}
	return q
}

// manifest fetches the manifest that the reference names. If a platform is set, it fetches the
// manifest for that platform instead.
func (q *manifestQuery) manifest(ctx context.Context) (m registry.Manifest, err error) {
	if q.repo, err = q.ref.OpenSource(q.client); err != nil {
		return m, err
	}
	m, err = q.repo.GetManifest(ctx, q.ref.Identifier())
	if q.found = err == nil; !q.found || q.platform.IsNull() {
		return m, err
	}
	return platformManifest(ctx, q.repo, m, q.platform.ValueString())
}

// isMissing reports whether err means that the registry definitely does not have the referenced
// manifest. A missing part of an existing image does not count.
func (q *manifestQuery) isMissing(err error) bool {
	return !q.found && errors.Is(err, registry.ErrNotFound)
}

// addError adds a diagnostic for an error of the query.
func (q *manifestQuery) addError(diags *diag.Diagnostics, summary string, err error) {
	var advice []string
	if !q.found || !errors.Is(err, registry.ErrNotFound) {
		summary, advice = errorSummary("", err, summary), missingTagAdvice(q.reference, err)
	}
	if q.repo != nil {
		err = registry.RedactError(registry.WithRepository(err, q.repo.Name()), q.repo.Redact)
	}
	at := path.Root("reference")
	if isMissingPlatform(err) {
		at = path.Root("platform")
	}
	addEngineError(diags, at, summary, err, advice...)
}

// warnNormalized warns if Terraform's Unicode normalization changes the bytes of an attribute,
// so that its digest is no longer that of the content. of names that content.
func warnNormalized(diags *diag.Diagnostics, attribute, of string, content []byte) {
	if norm.NFC.IsNormal(content) {
		return
	}
	diags.AddAttributeWarning(path.Root("reference"), attribute+" Is Not Byte for Byte",
		fmt.Sprintf("%s holds text that Terraform spells in another way (Unicode normal form C) when it keeps it. Its digest is not the one of %s.", of, attribute))
}

// referenceAttribute and platformAttribute return the schema of the attributes that
// newManifestQuery reads.
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
		Validators: []validator.String{platformValidator{}},
		MarkdownDescription: "The platform to select from an index, as `os/architecture` or `os/architecture/variant`, such as `linux/amd64` or `linux/arm/v7`. " +
			"Use `windows(10.0.20348)/amd64` for a version of an operating system. " +
			"An image that is not an index must be for this platform.",
	}
}
