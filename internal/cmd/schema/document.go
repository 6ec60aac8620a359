package main

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/hashicorp/terraform-plugin-go/tfprotov6"
	"github.com/hashicorp/terraform-plugin-go/tftypes"
)

// The types below are the JSON format of `terraform providers schema -json`
// (https://developer.hashicorp.com/terraform/cli/commands/providers/schema), limited to what
// this provider uses.

type document struct {
	FormatVersion string                  `json:"format_version"`
	Providers     map[string]providerJSON `json:"provider_schemas"`
}

type providerJSON struct {
	Provider    schemaJSON              `json:"provider"`
	Resources   map[string]schemaJSON   `json:"resource_schemas,omitempty"`
	DataSources map[string]schemaJSON   `json:"data_source_schemas,omitempty"`
	Functions   map[string]functionJSON `json:"functions,omitempty"`
}

type schemaJSON struct {
	Version int64     `json:"version"`
	Block   blockJSON `json:"block"`
}

type blockJSON struct {
	Attributes      map[string]attributeJSON   `json:"attributes,omitempty"`
	Blocks          map[string]nestedBlockJSON `json:"block_types,omitempty"`
	Description     string                     `json:"description,omitempty"`
	DescriptionKind string                     `json:"description_kind"`
	Deprecated      bool                       `json:"deprecated,omitempty"`
}

type nestedBlockJSON struct {
	Nesting string    `json:"nesting_mode"`
	Block   blockJSON `json:"block"`
}

type attributeJSON struct {
	Type            json.RawMessage `json:"type,omitempty"`
	Nested          *nestedJSON     `json:"nested_type,omitempty"`
	Description     string          `json:"description,omitempty"`
	DescriptionKind string          `json:"description_kind"`
	Deprecated      bool            `json:"deprecated,omitempty"`
	Required        bool            `json:"required,omitempty"`
	Optional        bool            `json:"optional,omitempty"`
	Computed        bool            `json:"computed,omitempty"`
	Sensitive       bool            `json:"sensitive,omitempty"`
	WriteOnly       bool            `json:"write_only,omitempty"`
}

type nestedJSON struct {
	Attributes map[string]attributeJSON `json:"attributes,omitempty"`
	Nesting    string                   `json:"nesting_mode"`
}

type functionJSON struct {
	Description string          `json:"description,omitempty"`
	Summary     string          `json:"summary,omitempty"`
	ReturnType  json.RawMessage `json:"return_type"`
	Parameters  []parameterJSON `json:"parameters,omitempty"`
	Variadic    *parameterJSON  `json:"variadic_parameter,omitempty"`
}

type parameterJSON struct {
	Name        string          `json:"name"`
	Description string          `json:"description,omitempty"`
	Nullable    bool            `json:"is_nullable,omitempty"`
	Type        json.RawMessage `json:"type"`
}

func schema(s *tfprotov6.Schema) schemaJSON {
	return schemaJSON{Version: s.Version, Block: block(s.Block)}
}

func block(b *tfprotov6.SchemaBlock) blockJSON {
	out := blockJSON{
		Attributes:      attributes(b.Attributes),
		Blocks:          map[string]nestedBlockJSON{},
		Description:     b.Description,
		DescriptionKind: kind(b.DescriptionKind),
		Deprecated:      b.Deprecated,
	}
	for _, nested := range b.BlockTypes {
		out.Blocks[nested.TypeName] = nestedBlockJSON{Nesting: nesting(nested.Nesting), Block: block(nested.Block)}
	}
	return out
}

func attributes(list []*tfprotov6.SchemaAttribute) map[string]attributeJSON {
	out := make(map[string]attributeJSON, len(list))
	for _, a := range list {
		attribute := attributeJSON{
			Description:     a.Description,
			DescriptionKind: kind(a.DescriptionKind),
			Deprecated:      a.Deprecated,
			Required:        a.Required,
			Optional:        a.Optional,
			Computed:        a.Computed,
			Sensitive:       a.Sensitive,
			WriteOnly:       a.WriteOnly,
		}
		if a.NestedType != nil {
			attribute.Nested = &nestedJSON{Attributes: attributes(a.NestedType.Attributes), Nesting: nesting(a.NestedType.Nesting)}
		} else {
			attribute.Type = typeJSON(a.Type)
		}
		out[a.Name] = attribute
	}
	return out
}

func function(f *tfprotov6.Function) functionJSON {
	out := functionJSON{Description: f.Description, Summary: f.Summary, ReturnType: typeJSON(f.Return.Type)}
	for _, p := range f.Parameters {
		out.Parameters = append(out.Parameters, parameter(p))
	}
	if f.VariadicParameter != nil {
		variadic := parameter(f.VariadicParameter)
		out.Variadic = &variadic
	}
	return out
}

func parameter(p *tfprotov6.FunctionParameter) parameterJSON {
	return parameterJSON{Name: p.Name, Description: p.Description, Nullable: p.AllowNullValue, Type: typeJSON(p.Type)}
}

// typeJSON returns a type in the JSON form of Terraform: "string", ["set","string"].
func typeJSON(t tftypes.Type) json.RawMessage {
	out, err := json.Marshal(t)
	if err != nil {
		// Only types that cannot occur in a schema have no JSON form.
		panic(err)
	}
	return out
}

// nesting returns the name of a nesting mode in JSON.
func nesting(mode fmt.Stringer) string { return strings.ToLower(mode.String()) }

func kind(k tfprotov6.StringKind) string {
	if k == tfprotov6.StringKindMarkdown {
		return "markdown"
	}
	return "plain"
}
