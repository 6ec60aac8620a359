package registrytest

import (
	"encoding/json"
	"fmt"
	"strings"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// object and list are JSON as it is written: members in this order. What they
// become is valid, and nothing that any serialiser would write: tabs and
// spaces in odd places, slashes escaped, a line end at the end. A manifest that
// was parsed and written again has another digest.
type (
	member struct {
		name  string
		value any
	}
	object []member
	list   []any
)

// write renders v oddly. v is an object, a list, or what json.Marshal takes.
func write(v any) []byte {
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
		// An escaped slash is the same string to a reader, and other bytes.
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

// described is a descriptor as an object, its members in an order of its own.
func described(d ocispec.Descriptor) object {
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
