package provider

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/hashicorp/go-version"
	"github.com/hashicorp/terraform-plugin-framework-timeouts/datasource/timeouts"
	"github.com/hashicorp/terraform-plugin-framework/attr"
	"github.com/hashicorp/terraform-plugin-framework/datasource"
	"github.com/hashicorp/terraform-plugin-framework/datasource/schema"
	"github.com/hashicorp/terraform-plugin-framework/diag"
	"github.com/hashicorp/terraform-plugin-framework/path"
	"github.com/hashicorp/terraform-plugin-framework/types"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry"
	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/layout"
)

// tagsDataSource implements the data source registry_tags.
type tagsDataSource struct{ dataSource }

var (
	_ datasource.DataSourceWithConfigure      = (*tagsDataSource)(nil)
	_ datasource.DataSourceWithValidateConfig = (*tagsDataSource)(nil)
)

func newTagsDataSource() datasource.DataSource { return &tagsDataSource{} }

// tagsModel is the model of registry_tags.
type tagsModel struct {
	Repository types.String   `tfsdk:"repository"`
	Include    types.String   `tfsdk:"include"`
	Exclude    types.String   `tfsdk:"exclude"`
	Constraint types.String   `tfsdk:"constraint"`
	Order      types.String   `tfsdk:"order"`
	Limit      types.Number   `tfsdk:"limit"`
	Tags       types.List     `tfsdk:"tags"`
	Newest     types.String   `tfsdk:"newest"`
	Timeouts   timeouts.Value `tfsdk:"timeouts"`
}

func (d *tagsDataSource) Metadata(_ context.Context, req datasource.MetadataRequest, resp *datasource.MetadataResponse) {
	resp.TypeName = req.ProviderTypeName + "_tags"
}

func (d *tagsDataSource) Schema(_ context.Context, _ datasource.SchemaRequest, resp *datasource.SchemaResponse) {
	resp.Schema = schema.Schema{
		MarkdownDescription: "Lists the tags of a repository that match a pattern or version constraint, newest first.",
		Attributes: map[string]schema.Attribute{
			"repository": schema.StringAttribute{
				Required:            true,
				MarkdownDescription: "The repository without a tag, such as `ghcr.io/acme/app` or `docker.io/library/alpine`.",
			},
			"include": schema.StringAttribute{
				Optional: true,
				MarkdownDescription: "A regular expression ([RE2](https://github.com/google/re2/wiki/Syntax)) that a tag must match. Use `^` and `$` to match the whole tag. " +
					"The text of a group named `version` is used as the version of the tag, for example `\"^(?P<version>[0-9.]+)-alpine$\"`.",
			},
			"exclude": schema.StringAttribute{
				Optional:            true,
				MarkdownDescription: "A regular expression that a tag must not match. It takes precedence over `include`.",
			},
			"constraint": schema.StringAttribute{
				Optional: true,
				MarkdownDescription: "A version constraint with the syntax of Terraform, such as `\"~> 1.4\"` or `\">= 1.4, < 2.0\"`. Tags that are not versions are omitted. " +
					"A suffix such as `-rc1` or `-alpine` makes a version a pre-release, which only a constraint with a pre-release of the same version matches.",
			},
			"order": schema.StringAttribute{
				Optional: true,
				MarkdownDescription: "The order that decides which tag is newer: `\"version\"` compares versions and lists other tags last, `\"lexical\"` compares characters, for tags that begin with a date. " +
					"Defaults to `\"version\"`.",
			},
			"limit": schema.NumberAttribute{ // not an Int64Attribute, for which the framework reports 1.5 as a provider error
				Optional:            true,
				MarkdownDescription: "The maximum number of tags to list, newest first. Defaults to all tags.",
			},
			"tags": schema.ListAttribute{
				Computed:            true,
				ElementType:         types.StringType,
				MarkdownDescription: "The tags, newest first. Use `toset(data.registry_tags.app.tags)` for `for_each`.",
			},
			"newest": schema.StringAttribute{
				Computed:            true,
				MarkdownDescription: "The first of `tags`, or `null` if there is none.",
			},
			"timeouts": readTimeoutAttribute(),
		},
	}
}

// ValidateConfig adds errors for invalid attributes.
func (d *tagsDataSource) ValidateConfig(ctx context.Context, req datasource.ValidateConfigRequest, resp *datasource.ValidateConfigResponse) {
	var m tagsModel
	resp.Diagnostics.Append(req.Config.Get(ctx, &m)...)
	if resp.Diagnostics.HasError() {
		return
	}
	if !m.Repository.IsUnknown() {
		_ = m.repository(&resp.Diagnostics)
	}
	_ = m.selection(&resp.Diagnostics)
}

func (d *tagsDataSource) Read(ctx context.Context, req datasource.ReadRequest, resp *datasource.ReadResponse) {
	var m tagsModel
	resp.Diagnostics.Append(req.Config.Get(ctx, &m)...)
	if resp.Diagnostics.HasError() {
		return
	}
	ctx, cancel, _ := withReadTimeout(ctx, req.Config, &resp.Diagnostics)
	defer cancel()
	at := path.Root("repository")
	ref, selection := m.repository(&resp.Diagnostics), m.selection(&resp.Diagnostics)
	if resp.Diagnostics.HasError() || !canQuery(ref.Name(), d.engine.unknownSetting(ref), at, &resp.Diagnostics) {
		return
	}
	repo := d.engine.pullRepository(ref)
	var collected warnings
	tags, err := repo.ListTags(collected.collect(ctx))
	collected.addTo(&resp.Diagnostics)
	if err != nil {
		summary := errorSummary("", err, "Unable to List Tags")
		if errors.Is(err, registry.ErrNotFound) {
			summary = "Repository Not Found"
		}
		addEngineError(&resp.Diagnostics, at, summary, registry.RedactError(err, repo.Redact))
		return
	}
	tags = selection.apply(tags)
	if len(tags) > 0 {
		m.Newest = types.StringValue(tags[0])
	}
	var diags diag.Diagnostics
	m.Tags, diags = types.ListValueFrom(ctx, types.StringType, tags)
	resp.Diagnostics.Append(diags...)
	resp.Diagnostics.Append(resp.State.Set(ctx, m)...)
}

// repository returns the repository whose tags are listed.
func (m tagsModel) repository(diags *diag.Diagnostics) registry.Reference {
	ref, err := registry.ParseRepository(m.Repository.ValueString())
	if layout.Is(m.Repository.ValueString()) {
		err = errNotInRegistry(m.Repository.ValueString())
	}
	if err != nil {
		diags.AddAttributeError(path.Root("repository"), "Invalid Repository", parseProblem(m.Repository.ValueString(), "a repository", err))
	}
	return ref
}

// selection returns the filters and the order. Unknown attributes are ignored.
func (m tagsModel) selection(diags *diag.Diagnostics) tagSelection {
	s := tagSelection{
		include: pattern(path.Root("include"), m.Include, diags),
		exclude: pattern(path.Root("exclude"), m.Exclude, diags),
		order:   m.Order.ValueString(),
		limit:   m.limit(diags),
	}
	if isKnown(m.Constraint) {
		var err error
		if s.constraint, err = version.NewConstraint(m.Constraint.ValueString()); err != nil {
			diags.AddAttributeError(path.Root("constraint"), "Invalid Version Constraint",
				fmt.Sprintf("%q cannot be read as a version constraint. Write it as for the version of a provider or module: \"~> 1.4\" or \">= 1.4, < 2.0\".", registry.Sanitize(m.Constraint.ValueString())))
		}
	}
	if isKnown(m.Order) && s.order != orderVersion && s.order != orderLexical {
		diags.AddAttributeError(path.Root("order"), "Invalid Order",
			fmt.Sprintf("%q is no order of tags. Write %q or %q.", registry.Sanitize(s.order), orderVersion, orderLexical))
	}
	if s.include != nil {
		for _, group := range s.include.SubexpNames() {
			if group != "" && group != versionGroup {
				diags.AddAttributeError(path.Root("include"), "Invalid Regular Expression",
					fmt.Sprintf("It has a group named %q, and %q is the only name that means something. Groups that only group need none.", registry.Sanitize(group), versionGroup))
			}
		}
	}
	return s
}

// limit returns the maximum number of tags, 0 for all.
func (m tagsModel) limit(diags *diag.Diagnostics) int {
	if !isKnown(m.Limit) {
		return 0
	}
	limit := m.Limit.ValueBigFloat()
	if !limit.IsInt() || limit.Sign() < 1 {
		diags.AddAttributeError(path.Root("limit"), "Invalid Limit",
			fmt.Sprintf("%s is not how many tags can be listed: a whole number is wanted, and at least 1. Leave `limit` out for all of them.", limit.Text('g', 10)))
	}
	n, _ := limit.Int64()
	return int(min(n, 1<<30))
}

// pattern compiles a regular expression. It returns nil if value is null or unknown.
func pattern(at path.Path, value types.String, diags *diag.Diagnostics) *regexp.Regexp {
	if !isKnown(value) {
		return nil
	}
	if value.ValueString() == "" {
		diags.AddAttributeError(at, "Invalid Regular Expression", fmt.Sprintf("%#q is empty, and an empty expression matches every tag. Leave it out (or null) where none is wanted.", at.String()))
	}
	expression, err := regexp.Compile(value.ValueString())
	if err != nil {
		diags.AddAttributeError(at, "Invalid Regular Expression",
			fmt.Sprintf("%q cannot be read as a regular expression: %s. It is one as for Terraform's regex function, which knows neither lookaheads nor backreferences: what is not wanted goes into `exclude`.",
				registry.Sanitize(value.ValueString()), registry.Sanitize(strings.TrimPrefix(err.Error(), "error parsing regexp: "))))
	}
	return expression
}

// isKnown reports whether a value is neither null nor unknown.
func isKnown(v attr.Value) bool { return !v.IsNull() && !v.IsUnknown() }
