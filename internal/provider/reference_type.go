package provider

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/hashicorp/terraform-plugin-framework/attr"
	"github.com/hashicorp/terraform-plugin-framework/attr/xattr"
	"github.com/hashicorp/terraform-plugin-framework/diag"
	"github.com/hashicorp/terraform-plugin-framework/resource/schema/planmodifier"
	"github.com/hashicorp/terraform-plugin-framework/schema/validator"
	"github.com/hashicorp/terraform-plugin-framework/types/basetypes"
	"github.com/hashicorp/terraform-plugin-go/tftypes"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry"
	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/imageref"
	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/layout"
)

// referenceType is the type of attributes that hold an image reference. It is a
// string to Terraform; here it is checked, and two spellings of one reference
// are equal.
type referenceType struct{ basetypes.StringType }

var _ basetypes.StringTypable = referenceType{}

func (referenceType) String() string { return "reference" }

func (referenceType) ValueType(context.Context) attr.Value { return referenceValue{} }

func (referenceType) Equal(other attr.Type) bool {
	_, ok := other.(referenceType)
	return ok
}

func (referenceType) ValueFromString(_ context.Context, s basetypes.StringValue) (basetypes.StringValuable, diag.Diagnostics) {
	return referenceValue{s}, nil
}

func (t referenceType) ValueFromTerraform(ctx context.Context, in tftypes.Value) (attr.Value, error) {
	v, err := t.StringType.ValueFromTerraform(ctx, in)
	if err != nil {
		return nil, err
	}
	s, ok := v.(basetypes.StringValue)
	if !ok {
		return nil, fmt.Errorf("a reference is a string and not %T", v)
	}
	return referenceValue{s}, nil
}

// referenceValue is a reference as it was written.
type referenceValue struct{ basetypes.StringValue }

var (
	_ basetypes.StringValuableWithSemanticEquals = referenceValue{}
	_ xattr.ValidateableAttribute                = referenceValue{}
)

func newReference(s string) referenceValue { return referenceValue{basetypes.NewStringValue(s)} }

func (referenceValue) Type(context.Context) attr.Type { return referenceType{} }

func (v referenceValue) Equal(other attr.Value) bool {
	o, ok := other.(referenceValue)
	return ok && v.StringValue.Equal(o.StringValue)
}

func (v referenceValue) known() bool { return !v.IsNull() && !v.IsUnknown() }

// place reads where the reference leads to: without tag and digest to the tag
// latest in a registry, and to the only image of a layout.
func (v referenceValue) place() (imageref.Ref, error) { return imageref.ParseSource(v.ValueString()) }

// parse is place for what can be in a registry alone.
func (v referenceValue) parse() (registry.Reference, error) {
	if layout.Is(v.ValueString()) {
		return registry.Reference{}, inNoRegistry(v.ValueString())
	}
	ref, err := registry.ParseReference(v.ValueString())
	return ref.WithDefaultTag(), err
}

// inNoRegistry is the error of an image layout where only a registry can be meant.
func inNoRegistry(s string) error {
	return &registry.Error{Op: "read the reference", Reference: registry.RedactInput(s), Kind: registry.ErrInvalidReference,
		Message: "it names an image layout on this machine, and here it has to be in a registry"}
}

// StringSemanticEquals says whether both spellings mean one place: "alpine:3" and
// "docker.io/library/alpine:3", "oci:app:1" and "oci:./app:1". Only the provider's
// settings tell whether a port is the default one, which counts as different here.
func (v referenceValue) StringSemanticEquals(_ context.Context, other basetypes.StringValuable) (bool, diag.Diagnostics) {
	o, ok := other.(referenceValue)
	return ok && sameReference(v.ValueString(), o.ValueString()), nil
}

func sameReference(a, b string) bool {
	placeA, errA := newReference(a).place()
	placeB, errB := newReference(b).place()
	return errA == nil && errB == nil && placeA.Equal(placeB)
}

// ValidateAttribute refuses what is no reference.
func (v referenceValue) ValidateAttribute(_ context.Context, req xattr.ValidateAttributeRequest, resp *xattr.ValidateAttributeResponse) {
	if !v.known() {
		return
	}
	if _, err := v.place(); err != nil {
		resp.Diagnostics.AddAttributeError(req.Path, "Invalid image reference", invalidReference(v.ValueString(), err))
	}
}

// invalidReference says what is wrong with a reference, and what one looks
// like.
func invalidReference(s string, err error) string { return unreadable(s, "a reference", err) }

// unreadable says why s cannot be read as what it should be.
func unreadable(s, as string, err error) string {
	shown, why, hint := registry.RedactInput(s), err.Error(), ""
	if e, ok := errors.AsType[*registry.Error](err); ok {
		shown, why, hint = cmp.Or(e.Reference, shown), cmp.Or(e.Message, why), e.Hint
	}
	return strings.TrimSpace(fmt.Sprintf("%q cannot be read as %s: %s.%s\n\n%s", shown, as, why, surrounded(s), hint))
}

// surrounded is what to do where s has white space around it; "" where it has
// none.
func surrounded(s string) string {
	if strings.TrimSpace(s) == s {
		return ""
	}
	return " There is white space around it, such as the line break at the end of a file. Terraform's trimspace() takes it away: trimspace(file(\"…\"))."
}

// parseDestination reads where an image is to go; see place.ParseDestination.
// problem says what is wrong with s and what to write instead, "" where nothing
// is.
func parseDestination(s string) (destination imageref.Ref, problem string) {
	destination, err := imageref.ParseDestination(s)
	if err != nil {
		problem = unreadable(s, "a destination", err)
	}
	return destination, problem
}

// isDestination validates that an attribute says where an image is to go.
type isDestination struct{}

var _ validator.String = isDestination{}

func (isDestination) Description(context.Context) string {
	return "must be host/repository:tag or oci:PATH:tag"
}

func (v isDestination) MarkdownDescription(ctx context.Context) string { return v.Description(ctx) }

func (isDestination) ValidateString(_ context.Context, req validator.StringRequest, resp *validator.StringResponse) {
	value := referenceValue{req.ConfigValue}
	if !value.known() {
		return
	}
	if _, err := value.place(); err != nil {
		return // the attribute's type says so already
	}
	if _, problem := parseDestination(value.ValueString()); problem != "" {
		resp.Diagnostics.AddAttributeError(req.Path, "Invalid destination", problem)
	}
}

// keepSpelling plans the state's value where the configuration spells the same
// reference in another way. Terraform does not ask for semantic equality while
// it plans, so that without it a new spelling would be a change, and for a
// destination a replacement. Spellings that differ by a default port depend on
// the provider's settings and are for planner.keepSpelling.
type keepSpelling struct{}

var _ planmodifier.String = keepSpelling{}

func (keepSpelling) Description(context.Context) string {
	return "another spelling of the same reference is no change"
}

func (m keepSpelling) MarkdownDescription(ctx context.Context) string { return m.Description(ctx) }

func (keepSpelling) PlanModifyString(_ context.Context, req planmodifier.StringRequest, resp *planmodifier.StringResponse) {
	if req.StateValue.IsNull() || req.PlanValue.IsNull() || req.PlanValue.IsUnknown() {
		return
	}
	if sameReference(req.StateValue.ValueString(), req.PlanValue.ValueString()) {
		resp.PlanValue = req.StateValue
	}
}
