package registrytest

import (
	"encoding/json"
	"fmt"
	"strings"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// object and list are JSON values with members in a fixed order. They are encoded as valid JSON
// that no serializer would produce: with tabs and spaces in unusual places, escaped slashes and
// a trailing newline. A manifest that was decoded and encoded again has another digest.
type (
	member struct {
		name  string
		value any
	}
	object []member
	list   []any
)

// marshal encodes v in the unusual form. v is an object, a list, or a value that json.Marshal
// accepts.
func marshal(v any) []byte {
	var b strings.Builder
	render(&b, v)
	b.WriteString("\n \n")
	return []byte(b.String())
}

func render(b *strings.Builder, v any) {
	switch v := v.(type) {
	case object:
		b.WriteString("{\n")
		for i, m := range v {
			if i > 0 {
				b.WriteString(" ,\n")
			}
			fmt.Fprintf(b, "\t%q  :", m.name)
			render(b, m.value)
		}
		b.WriteString("}")
	case list:
		b.WriteString("[ ")
		for i, e := range v {
			if i > 0 {
				b.WriteString(",\r\n  ")
			}
			render(b, e)
		}
		b.WriteString("]")
	case string:
		// An escaped slash decodes to the same string but has other bytes.
		text, _ := json.Marshal(v)
		b.WriteString(strings.ReplaceAll(string(text), "/", `\/`))
	default:
		text, err := json.Marshal(v)
		if err != nil {
			panic(fmt.Sprintf("registrytest: %v", err))
		}
		b.Write(text)
	}
}

// descriptorObject returns a descriptor as an object with members in an unusual order.
func descriptorObject(d ocispec.Descriptor) object {
	o := object{{"size", d.Size}, {"digest", string(d.Digest)}, {"mediaType", d.MediaType}}
	if d.ArtifactType != "" {
		o = append(o, member{"artifactType", d.ArtifactType})
	}
	if d.Platform != nil {
		p := object{{"os", d.Platform.OS}, {"architecture", d.Platform.Architecture}}
		if d.Platform.Variant != "" {
			p = append(p, member{"variant", d.Platform.Variant})
		}
		if d.Platform.OSVersion != "" {
			p = append(p, member{"os.version", d.Platform.OSVersion})
		}
		o = append(o, member{"platform", p})
	}
	if d.URLs != nil {
		o = append(o, member{"urls", d.URLs})
	}
	if d.Annotations != nil {
		o = append(o, member{"annotations", d.Annotations})
	}
	if d.Data != nil {
		o = append(o, member{"data", d.Data})
	}
	return o
}
