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

// referenceType is the type of attributes that contain an image reference. Terraform treats
// them as strings. The type validates them and treats different spellings of a reference as
// equal.
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

// referenceValue is a reference as it is written in the configuration.
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

// ref parses the reference. Without a tag and digest it is the tag latest in a registry, or the
// only image of a layout.
func (v referenceValue) ref() (imageref.Ref, error) { return imageref.ParseSource(v.ValueString()) }

// parse is like ref, but accepts only references to a registry.
func (v referenceValue) parse() (registry.Reference, error) {
	if layout.Is(v.ValueString()) {
		return registry.Reference{}, errNotInRegistry(v.ValueString())
	}
	ref, err := registry.ParseReference(v.ValueString())
	return ref.WithDefaultTag(), err
}

// errNotInRegistry returns the error for an image layout if only a registry is allowed.
func errNotInRegistry(s string) error {
	return &registry.Error{Op: "read the reference", Reference: registry.RedactInput(s), Kind: registry.ErrInvalidReference,
		Message: "it names an image layout on this machine, and here it has to be in a registry"}
}

// StringSemanticEquals reports whether both spellings are the same reference, such as
// "alpine:3" and "docker.io/library/alpine:3", or "oci:app:1" and "oci:./app:1". References
// that differ by a default port are not equal here, because the default depends on the provider
// configuration.
func (v referenceValue) StringSemanticEquals(_ context.Context, other basetypes.StringValuable) (bool, diag.Diagnostics) {
	o, ok := other.(referenceValue)
	return ok && sameReference(v.ValueString(), o.ValueString()), nil
}

func sameReference(a, b string) bool {
	refA, errA := newReference(a).ref()
	refB, errB := newReference(b).ref()
	return errA == nil && errB == nil && refA.Equal(refB)
}

// ValidateAttribute adds an error for an invalid reference.
func (v referenceValue) ValidateAttribute(_ context.Context, req xattr.ValidateAttributeRequest, resp *xattr.ValidateAttributeResponse) {
	if !v.known() {
		return
	}
	if _, err := v.ref(); err != nil {
		resp.Diagnostics.AddAttributeError(req.Path, "Invalid Image Reference", invalidReference(v.ValueString(), err))
	}
}

// invalidReference returns the diagnostic detail for an invalid reference.
func invalidReference(s string, err error) string { return parseProblem(s, "a reference", err) }

// parseProblem explains why s cannot be parsed. as is the expected form.
func parseProblem(s, as string, err error) string {
	shown, why, hint := registry.RedactInput(s), err.Error(), ""
	if e, ok := errors.AsType[*registry.Error](err); ok {
		shown, why, hint = cmp.Or(e.Reference, shown), cmp.Or(e.Message, why), e.Hint
	}
	return strings.TrimSpace(fmt.Sprintf("%q cannot be read as %s: %s.%s\n\n%s", shown, as, why, whitespaceHint(s), hint))
}

// whitespaceHint returns a hint if s has leading or trailing white space, "" otherwise.
func whitespaceHint(s string) string {
	if strings.TrimSpace(s) == s {
		return ""
	}
	return " There is white space around it, such as the line break at the end of a file. Terraform's trimspace() takes it away: trimspace(file(\"…\"))."
}

// parseDestination parses a destination; see imageref.ParseDestination. problem is the
// diagnostic detail if s is invalid, "" otherwise.
func parseDestination(s string) (destination imageref.Ref, problem string) {
	destination, err := imageref.ParseDestination(s)
	if err != nil {
		problem = parseProblem(s, "a destination", err)
	}
	return destination, problem
}

// destinationValidator validates that an attribute is a valid destination.
type destinationValidator struct{}

var _ validator.String = destinationValidator{}

func (destinationValidator) Description(context.Context) string {
	return "must be host/repository:tag or oci:PATH:tag"
}

func (v destinationValidator) MarkdownDescription(ctx context.Context) string {
	return v.Description(ctx)
}

func (destinationValidator) ValidateString(_ context.Context, req validator.StringRequest, resp *validator.StringResponse) {
	value := referenceValue{req.ConfigValue}
	if !value.known() {
		return
	}
	if _, err := value.ref(); err != nil {
		return // the attribute's type reports it
	}
	if _, problem := parseDestination(value.ValueString()); problem != "" {
		resp.Diagnostics.AddAttributeError(req.Path, "Invalid Destination", problem)
	}
}

// spellingModifier plans the state's value if the configuration spells the same reference
// differently. Terraform does not check semantic equality while it plans, so that another
// spelling would otherwise be a change, and for a destination a replacement.
// planBuilder.keepSpelling handles spellings that differ by a default port, which depends on
// the provider configuration.
type spellingModifier struct{}

var _ planmodifier.String = spellingModifier{}

func (spellingModifier) Description(context.Context) string {
	return "another spelling of the same reference is no change"
}

func (m spellingModifier) MarkdownDescription(ctx context.Context) string { return m.Description(ctx) }

func (spellingModifier) PlanModifyString(_ context.Context, req planmodifier.StringRequest, resp *planmodifier.StringResponse) {
	if req.StateValue.IsNull() || req.PlanValue.IsNull() || req.PlanValue.IsUnknown() {
		return
	}
	if sameReference(req.StateValue.ValueString(), req.PlanValue.ValueString()) {
		resp.PlanValue = req.StateValue
	}
}
